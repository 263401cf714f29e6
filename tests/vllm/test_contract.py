"""vLLM behind the local SageMaker does what the API relies on, apart from its known differences."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import httpx
import pytest
import yaml

from shared.aws import clients
from shared.hosting.endpoint_configs import CONTAINER_VARIABLES
from tests.local.sagemaker.conftest import until
from tests.unit.endpoint.contract import CHECKS, Engine, chat, chunks
from tests.vllm.conftest import ENDPOINT, Hosted


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(hosted: Hosted, check: Callable[[Engine], None]) -> None:
    check(hosted)


def test_it_was_started_with_the_bundle_and_the_variables_of_the_app(hosted: Hosted) -> None:
    name = clients.sagemaker().describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
    container = clients.sagemaker().describe_model(ModelName=name)["PrimaryContainer"]
    assert container["Environment"] == CONTAINER_VARIABLES
    config = yaml.safe_load((hosted.folder / "serving.yaml").read_text())
    (taken,) = [line for line in hosted.log if "non-default args" in line]
    for key in config:
        assert f"'{key.replace('-', '_')}'" in taken, f"vLLM took no notice of {key}"


def test_ping_is_200(hosted: Hosted) -> None:
    assert httpx.get(f"{hosted.url}/ping", timeout=30).status_code == 200


def test_a_caller_that_disconnects_stops_the_engine(hosted: Hosted) -> None:
    def running() -> float:
        lines = httpx.get(f"{hosted.url}/metrics", timeout=30).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running"))

    body = chat("v1", max_tokens=3000, stream=True, ignore_eos=True)
    answer: Any = clients.sagemaker_runtime().invoke_endpoint_with_response_stream(
        EndpointName=ENDPOINT, ContentType="application/json", Body=body
    )["Body"]
    parts = iter(answer)
    for _ in range(3):
        next(parts)
    assert running() == 1
    answer.close()
    until(lambda: {"running": running()}, lambda seen: seen["running"] == 0, seconds=20)


def test_two_versions_write_side_by_side(hosted: Hosted) -> None:
    """With one adapter at a time, the second answer would not begin before the first has ended."""
    spans: dict[str, tuple[float, float]] = {}

    def read(model: str) -> None:
        answer = clients.sagemaker_runtime().invoke_endpoint_with_response_stream(
            EndpointName=ENDPOINT,
            ContentType="application/json",
            Body=chat(model, max_tokens=60, stream=True, ignore_eos=True),
        )
        times = [monotonic() for _ in answer["Body"]]
        # The first event is sent before anything is generated.
        spans[model] = times[1], times[-1]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, ("v1", "v2")))
    assert spans["v1"][0] < spans["v2"][1] and spans["v2"][0] < spans["v1"][1], spans


def test_the_defaults_are_the_bundles(hosted: Hosted) -> None:
    """A chat without a temperature is sampled; one without a penalty gets the bundle's."""

    def answer(**values: Any) -> str:
        # In a stream, for a whole answer has to come within SageMaker's 60 seconds.
        events = chunks(hosted, chat(max_tokens=100, stream=True, **values))
        return "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])

    assert answer(temperature=None, seed=1) != answer(temperature=None, seed=2)
    assert answer() == answer(repetition_penalty=1.1) != answer(repetition_penalty=1.0)


def test_no_web_page_may_ask(hosted: Hosted) -> None:
    """vLLM itself takes any Host, and lets every origin read its answers."""
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    with httpx.Client(base_url=hosted.url, trust_env=False) as client:
        assert client.get("/ping").status_code == 200
        assert client.options("/invocations", headers=preflight).status_code == 403
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert client.get("/v1/models", headers=headers).status_code == 403


def test_differences_from_the_small_server(hosted: Hosted) -> None:
    """What the API must not rely on."""
    refused = hosted.ask(chat("v9"))
    assert refused.body["error"]["code"] == 404, "a number; the small server has OpenAI's word"
    assert hosted.ask(chat("", max_tokens=1)).body["model"] == "base", "no name is the base's"
    unknown = hosted.ask(chat(max_tokens=1, guided_json={"type": "object"}))
    assert unknown.status == 200, "it ignores what it does not know; the small server refuses it"
    prints = {hosted.ask(chat(model, max_tokens=1)).body["system_fingerprint"] for model in ("base", "v1")}
    assert len(prints) == 1 and prints.pop().startswith("vllm-"), "of the engine, not of the adapter"
    last = chunks(hosted, chat(max_tokens=2, stream=True))
    assert "system_fingerprint" not in last[0], "in the last chunk only"
    beyond = hosted.ask(chat(max_tokens=8190))
    assert beyond.status == 400, "the small server answers as far as there is room"
    assert "max_model_len=4096" in json.dumps(beyond.body), (
        "up to that it writes as far as there is room, too"
    )
