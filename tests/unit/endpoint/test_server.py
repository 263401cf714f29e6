"""The contract of the endpoint, asked over HTTP."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.unit.endpoint.conftest import CONTEXT, Server, free_port, start, write_serving_config
from tests.unit.endpoint.contract import CHECKS, Engine, Reply


def text_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    content: str = response.json()["choices"][0]["message"]["content"]
    return content


def greedy(folder: Path, version: str, text: str, tokens: int) -> str:
    """What transformers itself answers with the adapter on the base, unmerged."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder / "base")
    if version != "base":
        model = PeftModel.from_pretrained(model, folder / "adapters" / version)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder / "base")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        written = model.generate(**prompt, max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(written[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))


class OverHttp:
    """The small server as the contract asks it."""

    def __init__(self, server: Server) -> None:
        self._url = f"{server.url}/invocations"

    def ask(self, body: bytes) -> Reply:
        answer = httpx.post(self._url, content=body, timeout=60)
        return Reply(answer.status_code, answer.json())

    def stream(self, body: bytes) -> list[bytes]:
        with httpx.stream("POST", self._url, content=body, timeout=60) as answer:
            return list(answer.iter_raw())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(server: Server, check: Callable[[Engine], None]) -> None:
    check(OverHttp(server))


@pytest.mark.parametrize("model", ["base", "v1", "v2"])
def test_each_model_answers_as_transformers_does(server: Server, model: str) -> None:
    response = server.ask(model, "A tale, please", temperature=0, max_tokens=24)
    # The last token may be half a character: transformers shows a sign for it, the server nothing.
    assert text_of(response) == greedy(server.folder, model, "A tale, please", 24).rstrip("\ufffd")
    body = response.json()
    assert body["model"] == model and body["object"] == "chat.completion"
    if model != "base":
        assert body["system_fingerprint"] == server.adapter_fingerprint(model)


def test_the_models_are_different(server: Server) -> None:
    answers = {text_of(server.ask(model, temperature=0, max_tokens=24)) for model in ("base", "v1", "v2")}
    prints = {server.ask(model, max_tokens=1).json()["system_fingerprint"] for model in ("base", "v1", "v2")}
    assert len(answers) == len(prints) == 3


def test_answers_written_together_are_those_written_alone(server: Server) -> None:
    """Rows of different lengths and models join and leave each other's batches."""
    asked = [
        (model, "tale " * (1 + 3 * number), 10 + 15 * number)
        for number, model in enumerate(["v1", "v2", "v1", "v1", "base", "v1"])
    ]

    def ask(question: tuple[str, str, int]) -> str:
        model, text, tokens = question
        return text_of(server.ask(model, text, temperature=0, max_tokens=tokens))

    alone = [ask(question) for question in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(ask, asked))
    assert together == alone


def test_a_seed_repeats_an_answer(server: Server) -> None:
    first, again, other = (
        text_of(server.ask(temperature=1.0, max_tokens=40, seed=seed)) for seed in (7, 7, 8)
    )
    assert first == again != other


def test_top_p_keeps_only_the_likeliest(server: Server) -> None:
    likeliest = text_of(server.ask(temperature=0, max_tokens=30))
    assert text_of(server.ask(temperature=1.5, top_p=1e-6, max_tokens=30)) == likeliest
    assert text_of(server.ask(temperature=1.5, top_p=1.0, max_tokens=30, seed=1)) != likeliest


def test_a_stream_is_the_same_answer_in_pieces(server: Server) -> None:
    whole = server.ask(temperature=0, max_tokens=30)
    chunks = server.events(temperature=0, max_tokens=30, stream_options={"include_usage": True})
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    deltas = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(deltas) == text_of(whole) and len(deltas) > 10
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons[-1] == "length" and set(reasons[:-1]) == {None}
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"] == whole.json()["usage"]
    assert chunks[-1]["usage"]["completion_tokens"] == 30
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["system_fingerprint"] for chunk in chunks} == {server.adapter_fingerprint("v2")}
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_usage_comes_only_where_it_was_asked_for(server: Server) -> None:
    assert all("usage" not in chunk and chunk["choices"] for chunk in server.events(max_tokens=3))


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_before_a_stop_string(server: Server, stream: bool) -> None:
    whole = text_of(server.ask(temperature=0, max_tokens=60))
    stop = whole[20:23]
    expected = whole[: whole.index(stop)]
    values: dict[str, Any] = {"temperature": 0, "max_tokens": 60, "stop": ["never said", stop]}
    if stream:
        choices = [choice for chunk in server.events(**values) for choice in chunk["choices"]]
        text, reason = "".join(c["delta"].get("content", "") for c in choices), choices[-1]["finish_reason"]
    else:
        choice = server.ask(**values).json()["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
    assert (text, reason) == (expected, "stop")


def test_tokens_come_as_they_are_written_and_writing_ends_when_the_reader_leaves(server: Server) -> None:
    # the likeliest tokens of this model never end by themselves
    body = {"model": "v1", "messages": [{"role": "user", "content": "Hi"}], "stream": True, "temperature": 0}
    with httpx.stream("POST", f"{server.url}/invocations", json=body, timeout=60) as response:
        lines = response.iter_lines()
        for _ in range(6):
            next(lines)
        assert server.active() == 1, "it is still writing what we read"
    wait_until_idle(server)


def test_writing_ends_when_a_reader_without_stream_gives_up(server: Server) -> None:
    with pytest.raises(httpx.ReadTimeout):
        # the likeliest tokens of this model never end by themselves
        body = {"model": "v1", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
        httpx.post(f"{server.url}/invocations", json=body, timeout=httpx.Timeout(5, read=0.05))
    wait_until_idle(server)


def wait_until_idle(server: Server) -> None:
    deadline = time.monotonic() + 20
    while server.active():
        assert time.monotonic() < deadline, "it goes on writing for nobody"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "v9", "messages": [{"role": "user", "content": "x"}]}, 404, "model_not_found"),
        ({"model": "v1", "messages": []}, 400, "invalid_request"),
        (
            {"model": "v1", "messages": [{"role": "user", "content": "x"}], "temperature": 9},
            400,
            "invalid_request",
        ),
        (
            {"model": "v1", "messages": [{"role": "user", "content": "x"}], "tools": []},
            400,
            "invalid_request",
        ),
        (
            {"model": "v1", "messages": [{"role": "user", "content": "x" * CONTEXT}]},
            400,
            "context_length_exceeded",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_requests_get_an_openai_error(
    server: Server, body: dict[str, Any], status: int, code: str, stream: bool
) -> None:
    response = httpx.post(f"{server.url}/invocations", json={**body, "stream": stream}, timeout=60)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["code"] == code and error["type"] == "invalid_request_error" and error["message"]


def test_a_body_that_is_not_json_is_refused(server: Server) -> None:
    assert httpx.post(f"{server.url}/invocations", content=b"{").status_code == 400


def test_a_field_that_it_does_not_honour_is_refused(server: Server) -> None:
    """vLLM ignores what it does not know; the API sends neither of them such a field."""
    refused = server.ask(max_tokens=2, guided_json={"type": "object"})
    assert refused.status_code == 400 and "guided_json" in refused.text


def test_an_end_can_be_ignored(server: Server) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(server.folder / "base")
    bias = {str(tokenizer.eos_token_id): 100}
    ended = server.ask(max_tokens=5, logit_bias=bias, logprobs=True).json()
    assert ended["choices"][0]["finish_reason"] == "stop"
    assert ended["usage"]["completion_tokens"] == len(ended["choices"][0]["logprobs"]["content"]) == 1
    on = server.ask(max_tokens=5, logit_bias=bias, ignore_eos=True).json()
    assert (on["choices"][0]["finish_reason"], on["usage"]["completion_tokens"]) == ("length", 5)


def test_the_openai_client_works_unchanged(server: Server) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    messages: Any = [{"role": "user", "content": "Hello"}]
    whole = client.chat.completions.create(model="v2", messages=messages, max_tokens=12, temperature=0)
    pieces = client.chat.completions.create(
        model="v2", messages=messages, max_tokens=12, temperature=0, stream=True
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
    assert streamed == whole.choices[0].message.content
    assert whole.usage and whole.usage.completion_tokens == 12
    assert [model.id for model in client.models.list()] == ["base", "v2", "v1"]
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="v9", messages=messages)


def test_a_prompt_is_gone_on_with_as_transformers_does(server: Server) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(server.folder / "base")
    tokenizer: Any = AutoTokenizer.from_pretrained(server.folder / "base")
    prompt = tokenizer("Once upon a hill", return_tensors="pt")
    with torch.no_grad():
        written = model.generate(**prompt, max_new_tokens=24, do_sample=False)
    expected = tokenizer.decode(written[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    body = {"model": "base", "prompt": "Once upon a hill", "temperature": 0, "max_tokens": 24}
    answer = httpx.post(f"{server.url}/invocations", json=body, timeout=60).json()
    assert answer["choices"] == [
        {"index": 0, "text": expected.rstrip("\ufffd"), "logprobs": None, "finish_reason": "length"}
    ]
    assert answer["object"] == "text_completion"
    assert answer["usage"]["prompt_tokens"] == prompt["input_ids"].shape[1]


def test_a_completion_streams_the_same_text(server: Server) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    whole = client.completions.create(model="v2", prompt=["The hill"], temperature=0)
    assert whole.usage and whole.usage.completion_tokens == 16, "OpenAI's default"
    chunks = list(
        client.completions.create(
            model="v2", prompt="The hill", temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert [chunk.choices[0].finish_reason for chunk in chunks[-3:-1]] == [None, "length"]
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)


@pytest.mark.parametrize("prompt", ["", [], ["a", "b"], [1, 2], "x" * CONTEXT])
def test_a_prompt_that_cannot_be_is_refused(server: Server, prompt: Any) -> None:
    response = httpx.post(f"{server.url}/invocations", json={"model": "v1", "prompt": prompt}, timeout=60)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_only_this_machine_can_ask(server: Server) -> None:
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].split(":")[1], 16) == server.port
    ]
    assert listening == [f"{int.from_bytes(socket.inet_aton('127.0.0.1'), 'little'):08X}:{server.port:04X}"]


@pytest.mark.parametrize(
    "headers",
    [{"host": "rebound.example"}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}],
    ids=lambda headers: next(iter(headers)),
)
def test_no_web_page_on_this_machine_can_ask(server: Server, headers: dict[str, str]) -> None:
    asked = {"model": "v1", "prompt": "Once upon a time"}
    answer = httpx.post(f"{server.url}/invocations", json=asked, headers=headers, timeout=60)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "/opt/ml/model/nowhere"}, "is not a folder"),
        ({"lora-modules": ["v1=/opt/ml/model/adapters/v1"]}, "must be a JSON object"),
        ({"dtype": "int3"}, "dtype: int3"),
    ],
)
def test_a_folder_that_cannot_be_served_says_why(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    (tmp_path / "base").mkdir()
    write_serving_config(tmp_path, **{"lora-modules": [], **values})
    process = start(tmp_path, free_port())
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1 and said in output and "Traceback" not in output
