"""A slow response begins in time, with bytes that its readers skip; a later error is still seen."""

import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient
from openai.types.chat import ChatCompletionMessageParam

from chat_api.app import app
from chat_api.dependencies import keep_alive
from chat_api.services import generation
from shared.aws import clients
from stacks.chat.page import READ_TIMEOUT
from tests.unit.functions.api_server import serving
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

PERSON = caller_headers("u1")
CHAT = "/api/v1/chat/completions"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me of the hill."}]
HELLO: dict[str, Any] = {"messages": MESSAGES}
WORDS = ["The ", "hill ", "was ", "there."]
END = b'data: {"id": "c", "created": 5, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'


def _word(word: str) -> bytes:
    chunk = {"id": "c", "created": 5, "choices": [{"index": 0, "delta": {"content": word}}]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


@pytest.fixture
def slow(awake_v1: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """v1, live, whose words come slower than its readers' patience would last."""
    monkeypatch.setattr(keep_alive, "FIRST_BYTE_SECONDS", 0.1)
    monkeypatch.setattr(keep_alive, "BETWEEN_BYTES_SECONDS", 0.1)
    awake_v1.stream, awake_v1.part_seconds = [*map(_word, WORDS), END, b"data: [DONE]\n\n"], 0.25
    return awake_v1


@pytest.fixture
def api(resources: DeployedResources) -> Iterator[TestClient]:
    """The app, for a person who has signed in."""
    with TestClient(app, headers=PERSON, raise_server_exceptions=False) as client:
        yield client


def _client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/api/v1", api_key="x", default_headers=PERSON, max_retries=0)


@pytest.mark.aws_fact
def test_a_late_answer_in_one_piece_begins_with_white_space(slow: StandIn, api: TestClient) -> None:
    answer = api.post(CHAT, json=HELLO)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert "x-answer-id" in answer.headers
    white = len(answer.content) - len(answer.content.lstrip(b" "))
    assert 3 <= white <= 20
    assert answer.json()["choices"][0]["message"]["content"] == "".join(WORDS)
    with serving() as url:
        whole = _client(url).chat.completions.create(model="storyloom", messages=MESSAGES)
    assert whole.choices[0].message.content == "".join(WORDS)


def test_heartbeats_are_far_shorter_than_cloudfronts_timeout() -> None:
    assert READ_TIMEOUT.to_seconds() > keep_alive.FIRST_BYTE_SECONDS + keep_alive.BETWEEN_BYTES_SECONDS


def test_an_answer_in_time_has_no_white_space(slow: StandIn, api: TestClient) -> None:
    slow.part_seconds = 0.0
    keep_alive.FIRST_BYTE_SECONDS = 30.0  # set back by the fixture
    assert api.post(CHAT, json=HELLO).content.startswith(b"{")


def test_an_error_in_time_keeps_its_status(slow: StandIn, api: TestClient) -> None:
    keep_alive.FIRST_BYTE_SECONDS = 30.0  # set back by the fixture
    slow.stream, slow.dies = [_word("The ")], True
    assert api.post(CHAT, json=HELLO).status_code == 502
    assert api.post(CHAT, json={**HELLO, "model": "v9"}).status_code == 404


def test_a_late_error_has_no_choices_so_that_clients_notice(slow: StandIn, api: TestClient) -> None:
    slow.stream, slow.dies = [*map(_word, WORDS)], True
    answer = api.post(CHAT, json=HELLO)
    assert answer.status_code == 200, "it had begun"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert error["type"] == "answer_broke_off"
    assert error["answer"]["choices"][0]["message"]["content"] == "".join(WORDS)
    with serving() as url:
        broken = _client(url).chat.completions.create(model="storyloom", messages=MESSAGES)
    with pytest.raises(TypeError):
        print(broken.choices[0].message.content)
    assert broken.error["type"] == "answer_broke_off"  # type: ignore[attr-defined]


def test_a_late_refusal_is_in_the_body(slow: StandIn, api: TestClient) -> None:
    slow.model_error = (500, "CUDA error")
    slow.meet = lambda number, request: time.sleep(0.5)
    answer = api.post(CHAT, json=HELLO)
    assert (answer.status_code, answer.json()["error"]["type"]) == (200, "model_error")


def test_a_late_fault_is_reported_without_its_text(
    slow: StandIn, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*given: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(generation, "merge_chunks", stumble)
    answer = api.post(CHAT, json=HELLO)
    assert answer.json()["error"]["type"] == "internal_error"
    assert "secret" not in answer.text


@pytest.mark.aws_fact
def test_a_silent_stream_sends_comments(slow: StandIn, api: TestClient) -> None:
    events = api.post(CHAT, json={**HELLO, "stream": True}).text.strip().split("\n\n")
    comments = [event for event in events if event.startswith(": ")]
    assert len(comments) >= 4
    with serving() as url:
        chunks = _client(url).chat.completions.create(model="storyloom", messages=MESSAGES, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "".join(WORDS)


def test_a_stream_that_the_endpoint_begins_late_begins_in_time(slow: StandIn, api: TestClient) -> None:
    slow.begins_after, slow.part_seconds = 0.5, 0.0
    events = api.post(CHAT, json={**HELLO, "stream": True}).text.strip().split("\n\n")
    assert events[0] == ": The answer goes on."
    assert events[-1] == "data: [DONE]"
    slow.model_error = (500, "CUDA error")
    slow.meet = lambda number, request: time.sleep(0.5)
    *_, last = api.post(CHAT, json={**HELLO, "stream": True}).text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "model_error"


def test_other_routes_that_may_take_long_are_kept_alive_too(
    slow: StandIn, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = clients.s3

    def late() -> Any:
        time.sleep(0.4)
        return listed()

    monkeypatch.setattr(clients, "s3", late)
    answer = api.get("/api/stories")
    assert answer.content.startswith(b" ")
    assert answer.json() == {"stories": []}
