"""A caller cancels an answer: the model stops, the slot is released, and the tokens so far are counted."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from fastapi.testclient import TestClient

from chat_api.app import app
from chat_api.services import model_access, upstream
from shared import clock, table
from shared.answers import cancellations, usage
from shared.hosting import hosting_state
from tests.unit.functions.api_server import running
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

PERSON, ANOTHER = caller_headers("u1"), caller_headers("u2")
CHAT = "/api/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell me of the hill."}]}
WORD = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "hill "}}]}\n\n'
END = b'data: {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
GUESSED = 7
"""Tokens of the prompt: a third of its characters."""
WITHIN_SECONDS = 3.0


@pytest.fixture(params=[True, False], ids=["new bundle", "old bundle"])
def endless(awake_v1: StandIn, request: pytest.FixtureRequest) -> StandIn:
    """v1, live, with an answer that takes minutes; its container can be told to end one, or cannot."""
    awake_v1.stream, awake_v1.part_seconds = [WORD] * 6000, 0.03
    awake_v1.ends_when_told = request.param
    return awake_v1


@pytest.fixture
def api(resources: DeployedResources) -> Iterator[TestClient]:
    """The app in this process. What it cancels, another process may be writing."""
    with TestClient(app, headers=PERSON, raise_server_exceptions=False) as client:
        yield client


def _named() -> tuple[str, dict[str, str]]:
    """An id for an answer, and the headers of a request for it."""
    answer_id = str(uuid.uuid4())
    return answer_id, {**PERSON, "X-Answer-Id": answer_id}


def _cancel(api: TestClient, answer_id: str, who: dict[str, str] = PERSON) -> Any:
    return api.post(f"/api/v1/answers/{answer_id}/cancel", headers=who)


def _soon(holds: Callable[[], bool], seconds: float = WITHIN_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@pytest.mark.aws_fact
def test_a_cancelled_stream_ends_in_another_process(endless: StandIn, api: TestClient) -> None:
    answer_id, headers = _named()
    with running() as url, httpx.stream("POST", url + CHAT, json=_streamed(), headers=headers) as response:
        assert response.headers["x-answer-id"] == answer_id
        lines = response.iter_lines()
        next(lines)
        assert usage.today("u1").answering == 1
        assert _cancel(api, answer_id).status_code == 202
        assert endless.hung_up.wait(WITHIN_SECONDS), "the connection to the endpoint is closed"
        assert (answer_id in endless.cancelled) == endless.ends_when_told
        _soon(lambda: usage.today("u1").answering == 0)
        said = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert said[-1]["error"]["type"] == "answer_cancelled"
    assert usage.today("u1").tokens == GUESSED + len(said), "a word read before the others, an error after"


def _streamed() -> dict[str, Any]:
    return {**HELLO, "stream": True}


@pytest.mark.aws_fact
def test_a_model_that_is_silent_is_left_too(endless: StandIn, api: TestClient) -> None:
    endless.part_seconds = 60.0
    answer_id, headers = _named()
    with running() as url, httpx.stream("POST", url + CHAT, json=_streamed(), headers=headers) as response:
        next(response.iter_bytes())
        _cancel(api, answer_id)
        assert endless.hung_up.wait(WITHIN_SECONDS)
        _soon(lambda: usage.today("u1").answering == 0)


def test_an_answer_in_one_piece_keeps_its_text(endless: StandIn, api: TestClient) -> None:
    answer_id, headers = _named()
    with running() as url, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.post, url + CHAT, json=HELLO, headers=headers, timeout=60)
        _soon(lambda: len(endless.asked) == 1, seconds=30)
        _cancel(api, answer_id)
        answer = asked.result()
    assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")
    error = answer.json()["error"]
    assert error["type"] == "answer_cancelled"
    words = error["answer"]["choices"][0]["message"]["content"].split()
    assert usage.today("u1") == usage.Today(tokens=GUESSED + len(words), answering=0)


def test_a_cancel_holds_for_an_answer_that_has_not_begun(endless: StandIn, api: TestClient) -> None:
    answer_id, headers = _named()
    assert _cancel(api, answer_id).status_code == 202
    answer = api.post(CHAT, json=HELLO, headers=headers)
    assert answer.json()["error"]["type"] == "answer_cancelled"
    assert endless.hung_up.wait(WITHIN_SECONDS)
    assert usage.today("u1").answering == 0


def test_nobody_cancels_another_persons_answer(endless: StandIn, api: TestClient) -> None:
    endless.stream = [WORD] * 100 + [END, DONE]
    answer_id, headers = _named()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.post, CHAT, json=HELLO, headers=headers)
        _soon(lambda: table.get(f"ANSWER#{answer_id}", "ANSWER") is not None)
        refused = _cancel(api, answer_id, ANOTHER)
        answer = asked.result()
    assert (refused.status_code, refused.json()["error"]["type"]) == (404, "not_found")
    assert answer.json()["choices"][0]["finish_reason"] == "stop"
    # Nor by being there first.
    answer_id, headers = _named()
    _cancel(api, answer_id, ANOTHER)
    assert api.post(CHAT, json=HELLO, headers=headers).json()["choices"][0]["finish_reason"] == "stop"


def test_cancelling_again_or_too_late_changes_nothing(awake_v1: StandIn, api: TestClient) -> None:
    awake_v1.stream = [WORD, END, DONE]
    answer_id, headers = _named()
    assert api.post(CHAT, json=HELLO, headers=headers).status_code == 200
    before = usage.today("u1")
    assert [_cancel(api, answer_id).status_code for _ in range(2)] == [202, 202]
    assert usage.today("u1") == before
    item = table.get(f"ANSWER#{answer_id}", "ANSWER") or {}
    assert item["expires_at"] > time.time() + usage.LONGEST_ANSWER_SECONDS


def test_the_response_names_an_answer_that_the_client_did_not(awake_v1: StandIn, api: TestClient) -> None:
    awake_v1.stream = [WORD, END, DONE]
    named = [api.post(CHAT, json={**HELLO, **more}).headers["x-answer-id"] for more in ({}, {"stream": True})]
    assert len({str(uuid.UUID(name)) for name in named}) == 2


@pytest.mark.parametrize("wrong", ["1", "not-a-uuid"])
def test_an_id_is_a_uuid(awake_v1: StandIn, api: TestClient, wrong: str) -> None:
    assert _cancel(api, wrong).status_code == 422
    assert api.post(CHAT, json=HELLO, headers={"X-Answer-Id": wrong}).status_code == 422
    assert awake_v1.asked == []


def test_a_key_needs_the_scope_but_no_rate(resources: DeployedResources, api: TestClient) -> None:
    reader = caller_headers("key:0123456789ab", "read", requests_per_minute="9")
    assert _cancel(api, str(uuid.uuid4()), reader).status_code == 403
    spent = caller_headers("key:0123456789ab", "chat", requests_per_minute="0")
    assert _cancel(api, str(uuid.uuid4()), spent).status_code == 202


def test_a_stream_that_waits_for_the_model_can_be_cancelled(
    endless: StandIn, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_access, "POLL_SECONDS", 600.0)
    monkeypatch.setattr(model_access, "invoke_endpoint_manager", lambda action: None)
    hosting_state.mark_asleep(hosting_state.state(), "Idle.")
    answer_id, headers = _named()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(api.post, CHAT, json=_streamed(), headers={**headers, "Prefer": "wait=700"})
        _soon(lambda: usage.today("u1").answering == 1)
        _cancel(api, answer_id)
        answer = asked.result(WITHIN_SECONDS)
    comment, error = answer.text.strip().split("\n\n")
    assert comment.startswith(": asleep")
    assert json.loads(error.removeprefix("data: "))["error"]["type"] == "answer_cancelled"
    assert usage.today("u1") == usage.Today(tokens=0, answering=0)
    assert endless.asked == []


def test_an_answer_continues_while_the_table_cannot_be_read(
    endless: StandIn, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless.stream = [WORD] * 30 + [END, DONE]
    monkeypatch.setattr(upstream, "FIRST_POLL_SECONDS", 0.0)
    monkeypatch.setattr(upstream, "POLL_SECONDS", 0.05)
    failing = True

    def claim(answer_id: str, caller: str) -> bool:
        if failing:
            raise ClientError({"Error": {"Code": "InternalServerError", "Message": "Oh."}}, "UpdateItem")
        return True

    monkeypatch.setattr(cancellations, "claim", claim)
    assert api.post(CHAT, json=HELLO).status_code == 200
    failing, (answer_id, headers) = False, _named()
    _cancel(api, answer_id)
    assert api.post(CHAT, json=HELLO, headers=headers).status_code == 409


def test_the_idle_time_counts_from_the_end_of_a_cancelled_answer(endless: StandIn, api: TestClient) -> None:
    table.update("HOSTING", "STATE", {"last_used_at": "2026-01-01T00:00:00.000Z"})
    answer_id, headers = _named()
    _cancel(api, answer_id)
    api.post(CHAT, json=HELLO, headers=headers)
    assert clock.seconds_since(hosting_state.state().last_used_at or "2026-01-01T00:00:00.000Z") < 60


@pytest.mark.aws_fact
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_ends_cleanly_before_sagemaker_interrupts_it(
    *, endless: StandIn, api: TestClient, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    assert upstream.LONGEST_ANSWER_SECONDS < 8 * 60
    monkeypatch.setattr(upstream, "LONGEST_ANSWER_SECONDS", 0.5)
    answer = api.post(CHAT, json={**HELLO, "stream": stream})
    assert answer.status_code == 200
    if stream:
        *_, last, done = answer.text.strip().split("\n\n")
        assert json.loads(last.removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
        assert done == "data: [DONE]"
    else:
        (choice,) = answer.json()["choices"]
        assert choice["finish_reason"] == "length"
        assert "hill" in choice["message"]["content"]
    assert endless.hung_up.wait(WITHIN_SECONDS)
    assert usage.today("u1").answering == 0
