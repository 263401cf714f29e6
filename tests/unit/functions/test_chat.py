"""Chat completions: the `openai` client against the real web server, and every way an answer can go wrong."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from fastapi.testclient import TestClient
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from chat_api.app import app
from chat_api.services import model_access
from shared import clock, table
from shared.aws import clients
from shared.hosting import hosting_state
from tests.unit.functions.api_server import running
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

CONTEXT = caller_headers(username="writer")
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me of the hill."}]
HELLO = {"messages": MESSAGES}
WORDS = ["The ", "hill ", "was ", "— ", "as ever — ", "listening."]


def _sse(version: str = "v1", finish: bool = True) -> bytes:
    def event(**parts: Any) -> bytes:
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": version}
        whole = {**head, "system_fingerprint": "a" * 16, **parts}
        return f"data: {json.dumps(whole, ensure_ascii=False)}\n\n".encode()

    chunks = [
        event(choices=[{"index": 0, "delta": {"content": word}, "finish_reason": None}]) for word in WORDS
    ]
    if finish:
        chunks.append(event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        chunks.append(
            event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13})
        )
        chunks.append(b"data: [DONE]\n\n")
    return b"".join(chunks)


def _parts(stream: bytes, size: int = 37) -> list[bytes]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


@pytest.fixture
def awake(awake_v1: StandIn) -> StandIn:
    """v1 live and answering, its stream cut without regard to events and characters."""
    awake_v1.stream = _parts(_sse())
    return awake_v1


@pytest.fixture
def api(resources: DeployedResources) -> Iterator[TestClient]:
    """The app in this process, called as the Web Adapter calls it."""
    with TestClient(app, headers=CONTEXT, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def endpoint_manager_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the endpoint manager was asked to do: no Lambda is deployed here."""
    calls: list[str] = []
    monkeypatch.setattr(model_access, "invoke_endpoint_manager", calls.append)
    monkeypatch.setattr(model_access, "_last_check", float("-inf"))
    return calls


def _client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/api/v1", api_key="token", default_headers=CONTEXT, max_retries=0)


def test_the_openai_client_streams_and_answers_in_one_piece(awake: StandIn) -> None:
    awake.part_seconds = 0.02
    with running() as url:
        client = _client(url)
        assert [model.id for model in client.models.list()] == ["storyloom", "v1", "base"]
        arrived: list[float] = []
        text = ""
        started = time.monotonic()
        stream = client.chat.completions.create(model="storyloom", messages=MESSAGES, stream=True)
        for chunk in stream:
            arrived.append(time.monotonic() - started)
            assert isinstance(chunk, ChatCompletionChunk)
            text += chunk.choices[0].delta.content or ""
        assert text == "".join(WORDS)
        assert arrived[-1] - arrived[0] > 0.2, "the words come one after another"
        whole = client.chat.completions.create(model="v1", messages=MESSAGES, max_tokens=50)
        assert whole.choices[0].message.content == "".join(WORDS)
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage is not None
        assert whole.usage.total_tokens == 13
        assert whole.system_fingerprint == "a" * 16
        with pytest.raises(openai.NotFoundError, match="no model 'v9'"):
            client.chat.completions.create(model="v9", messages=MESSAGES)
    assert awake.asked[0]["model"] == awake.asked[1]["model"] == "v1"
    assert awake.asked[1]["max_tokens"] == 50
    assert awake.asked[1]["stream"] is True, "SageMaker ends an answer in one piece after 60 seconds"


def test_disconnecting_ends_the_generation(awake: StandIn) -> None:
    awake.stream, awake.part_seconds = [b": wait\n\n" * 2000] * 2000, 0.01
    awake.stream[0] = _sse(finish=False)
    with running() as url:
        with httpx.stream(
            "POST", f"{url}/api/v1/chat/completions", json={**HELLO, "stream": True}, headers=CONTEXT
        ) as response:
            assert next(response.iter_bytes())
        assert awake.hung_up.wait(10), "the endpoint's connection was closed"


def test_the_usage_chunk_comes_only_when_asked_for(awake: StandIn, api: TestClient) -> None:
    asked = api.post(
        "/api/v1/chat/completions", json={**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    )
    assert '"usage"' in asked.text
    unasked = api.post("/api/v1/chat/completions", json={**HELLO, "stream": True})
    assert '"usage"' not in unasked.text
    assert unasked.text.endswith("data: [DONE]\n\n")
    assert unasked.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("how", ["dies", "ends", "breaks", "error event"])
def test_a_model_that_crashes_keeps_its_text(awake: StandIn, api: TestClient, how: str) -> None:
    awake.stream = _parts(_sse(finish=False))
    awake.dies, awake.breaks = how == "dies", how == "breaks"
    if how == "error event":
        awake.stream.append(b'data: {"error": {"message": "CUDA out of memory", "code": 500}}\n\n')
    streamed = api.post("/api/v1/chat/completions", json={**HELLO, "stream": True})
    events = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line]
    said = "".join(json.loads(event)["choices"][0]["delta"]["content"] for event in events[:-1])
    assert said == "".join(WORDS)
    assert json.loads(events[-1])["error"]["type"] == "answer_broke_off"
    whole = api.post("/api/v1/chat/completions", json=HELLO)
    assert whole.status_code == 502
    error = whole.json()["error"]
    assert error["answer"]["choices"][0]["message"]["content"] == "".join(WORDS)
    assert error["cure"]


def test_a_model_asleep_is_woken_and_says_when_it_will_answer(
    awake: StandIn, api: TestClient, endpoint_manager_calls: list[str]
) -> None:
    hosting_state.mark_asleep(hosting_state.state(), "Idle.")
    answer = api.post("/api/v1/chat/completions", json=HELLO)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "30"
    error = answer.json()["error"]
    assert (error["type"], error["stage"]) == ("model_asleep", "asleep")
    assert error["expected_seconds"] > 60
    assert endpoint_manager_calls == ["wake"]
    table.update("HOSTING", "STATE", {"wake_seconds": 12.0, "status": "waking", "since": clock.stamp()})
    waits = api.post("/api/v1/chat/completions", json=HELLO)
    assert waits.json()["error"]["stage"] == "waking"
    assert 2 <= waits.json()["error"]["expected_seconds"] <= 12
    assert int(waits.headers["retry-after"]) <= 12
    api.post("/api/v1/chat/completions", json=HELLO)
    assert endpoint_manager_calls == ["wake", "tick"], (
        "the endpoint manager looks at once, but not for every message"
    )


def test_a_missing_endpoint_is_woken(
    awake: StandIn, api: TestClient, endpoint_manager_calls: list[str]
) -> None:
    awake.endpoint = None
    answer = api.post("/api/v1/chat/completions", json={**HELLO, "stream": True})
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "model_waking"
    assert endpoint_manager_calls == ["wake"]


def test_before_the_first_model(
    resources: DeployedResources, api: TestClient, endpoint_manager_calls: list[str]
) -> None:
    answer = api.post("/api/v1/chat/completions", json=HELLO)
    assert answer.status_code == 409
    assert answer.json()["error"]["type"] == "no_model_yet"
    assert "Add stories" in answer.json()["error"]["cure"]
    assert api.get("/api/v1/models").json() == {"object": "list", "data": []}
    assert api.post("/api/wake").status_code == 409
    assert endpoint_manager_calls == []


def test_a_prompt_over_the_limit(awake: StandIn, api: TestClient) -> None:
    limit = api.get("/api/status").json()["limits"]["prompt_characters"]
    at_limit = {"messages": [{"role": "user", "content": "x" * limit}]}
    assert api.post("/api/v1/chat/completions", json=at_limit).status_code == 200
    over = {"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * (limit + 1)}]}]}
    answer = api.post("/api/v1/chat/completions", json=over)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "prompt_too_long"
    assert "1 characters or more" in answer.json()["error"]["cure"]


@pytest.mark.parametrize(
    ("status", "said", "ours", "kind"),
    [
        (400, "This model's maximum context length is 4096 tokens.", 413, "prompt_too_long"),
        (400, "temperature must be in [0, 2]", 422, "invalid_request"),
        (404, "The model `v1` does not exist.", 404, "model_not_found"),
        (500, "CUDA error", 502, "model_error"),
    ],
)
def test_what_the_model_refuses(
    *, awake: StandIn, api: TestClient, status: int, said: str, ours: int, kind: str
) -> None:
    awake.model_error = (status, json.dumps({"error": {"message": said, "code": status}}))
    answer = api.post("/api/v1/chat/completions", json=HELLO)
    assert answer.status_code == ours
    assert answer.json()["error"]["type"] == kind
    assert (said in answer.json()["error"]["message"]) == (ours != 502)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "poet", "content": "x"}]}, "messages.0.role"),
        ({**HELLO, "temperature": 3}, "temperature"),
        ({**HELLO, "max_tokens": 0}, "max_tokens"),
        ({**HELLO, "temperature": True}, "temperature"),
        ({**HELLO, "seed": "7"}, "seed"),
        ({**HELLO, "stream": "yes"}, "stream"),
        ({**HELLO, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_a_malformed_request_says_where(api: TestClient, body: dict[str, Any], where: str) -> None:
    answer = api.post("/api/v1/chat/completions", json=body)
    assert answer.status_code == 422
    assert where in answer.json()["error"]["message"]


def test_the_prompt_is_in_no_log_and_no_error(
    awake: StandIn, api: TestClient, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "the grandmother buried it under the third apple tree"
    prompt = [{"role": "user", "content": secret}]
    awake.dies, awake.stream = True, _parts(_sse(finish=False))
    answers = [
        api.post("/api/v1/chat/completions", json={"messages": prompt}),
        api.post("/api/v1/chat/completions", json={"messages": prompt, "temperature": 9}),
        api.post("/api/v1/chat/completions", json={"messages": prompt, "model": "v9"}),
    ]
    assert [answer.status_code for answer in answers] == [502, 422, 404]
    assert all(secret not in answer.text for answer in answers)
    said = capfd.readouterr()
    assert secret not in said.out + said.err
    assert "apple" not in said.out + said.err


def test_use_is_noted_once_a_minute(awake: StandIn, api: TestClient) -> None:
    before = hosting_state.state().last_used_at
    api.post("/api/v1/chat/completions", json=HELLO)
    assert hosting_state.state().last_used_at == before
    old = "2026-01-01T00:00:00.000Z"
    table.update("HOSTING", "STATE", {"last_used_at": old})
    api.post("/api/v1/chat/completions", json={**HELLO, "stream": True})
    assert (hosting_state.state().last_used_at or "") > old


def test_no_sign_in_no_answer(resources: DeployedResources) -> None:
    clients.dynamodb()
    with TestClient(app) as client:
        routes = ["/api/status", "/api/runs", "/api/runs/x", "/api/stories", "/api/v1/models"]
        answers = [client.get(route) for route in routes]
        answers += [client.post("/api/wake"), client.post("/api/v1/chat/completions", json=HELLO)]
        for headers in ({"x-amzn-request-context": "{}"}, {"x-amzn-request-context": "[1"}):
            answers.append(client.get("/api/status", headers=headers))
        assert {answer.status_code for answer in answers} == {401}
        assert all("Sign in again" in answer.json()["error"]["cure"] for answer in answers)
        assert client.get("/api/health").json() == {"ok": True}
        missing = client.get("/api/nothing")
        assert missing.status_code == 404
        assert missing.json()["error"]["type"] == "not_found"
