"""Limits: tokens a day, concurrent answers, messages and the length of an answer, each with its error."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from botocore.exceptions import ClientError
from fastapi.testclient import TestClient

from chat_api.app import app
from chat_api.services import limits, model_access
from shared import clock, table
from shared.answers import usage
from shared.hosting import hosting_state
from stacks.chat.rest_api import LONGEST_ANSWER
from tests.unit.functions.api_server import running
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

PERSON = caller_headers("u1")
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell me of the hill."}]}
CHAT = "/api/v1/chat/completions"
WORD = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "hill "}}]}\n\n'
END = b'data: {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
COUNTED = b'data: {"id": "c", "choices": [], "usage": {"total_tokens": 13}}\n\n'
DONE = b"data: [DONE]\n\n"
GUESSED = 7
"""Tokens of the prompt: a third of its characters."""


@pytest.fixture
def awake(awake_v1: StandIn) -> StandIn:
    """v1 live and answering with three words."""
    awake_v1.stream = [WORD] * 3 + [END, COUNTED, DONE]
    return awake_v1


@pytest.fixture
def api(resources: DeployedResources) -> Iterator[TestClient]:
    """The app, for a person who has signed in."""
    with TestClient(app, headers=PERSON, raise_server_exceptions=False) as client:
        yield client


def _day() -> dict[str, Any]:
    return table.get("USAGE#u1", clock.day()) or {}


def test_the_tokens_of_every_answer_are_counted(awake: StandIn, api: TestClient) -> None:
    assert api.get("/api/status").json()["usage"] == {"tokens_today": 0, "daily_tokens": 200_000}
    assert api.post(CHAT, json=HELLO).status_code == 200
    assert api.post(CHAT, json={**HELLO, "stream": True}).text.endswith("[DONE]\n\n")
    assert api.get("/api/status").json()["usage"]["tokens_today"] == 26
    other = api.get("/api/status", headers=caller_headers("u2")).json()
    assert other["usage"]["tokens_today"] == 0, "each has a day of their own"
    day = _day()
    assert "active" not in day, "nothing is being written"
    assert day["expires_at"] > time.time() + 86_400


@pytest.mark.parametrize("stream", [True, False])
def test_an_interrupted_answer_counts_its_tokens_so_far(
    awake: StandIn, api: TestClient, stream: bool
) -> None:
    awake.stream, awake.dies = [WORD] * 3, True
    api.post(CHAT, json={**HELLO, "stream": stream})
    assert _day()["tokens"] == GUESSED + 3
    assert "active" not in _day()


def test_what_the_model_refused_costs_nothing(awake: StandIn, api: TestClient) -> None:
    awake.model_error = (500, "CUDA error")
    assert api.post(CHAT, json=HELLO).status_code == 502
    assert usage.today("u1") == usage.Today(tokens=0, answering=0)


def test_an_answer_stays_if_its_tokens_cannot_be_recorded(
    awake: StandIn, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(slot: usage.RequestSlot, tokens: int) -> None:
        raise ClientError({"Error": {"Code": "InternalServerError", "Message": "Oh."}}, "UpdateItem")

    monkeypatch.setattr(usage, "end", fail)
    answer = api.post(CHAT, json={**HELLO, "stream": True})
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")


def test_disconnecting_does_not_evade_the_token_limit(awake: StandIn) -> None:
    awake.stream, awake.part_seconds = [WORD] * 2000, 0.01
    with running() as url:
        request = {**HELLO, "stream": True}
        with httpx.stream("POST", url + CHAT, json=request, headers=PERSON) as response:
            pieces = response.iter_bytes()  # letting go of it would hang up
            assert next(pieces)
            assert usage.today("u1").answering == 1
        assert awake.hung_up.wait(10)
        _wait_until(lambda: usage.today("u1").answering == 0)
    assert GUESSED < usage.today("u1").tokens < 2000


def _wait_until(holds: Any) -> None:
    for _ in range(100):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to hold")


def test_a_spent_budget_is_refused_until_midnight(
    awake: StandIn, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_DAILY_TOKENS", "20")
    moment = clock.instant("2026-09-30T23:00:00.000Z")
    monkeypatch.setattr(clock, "now", lambda: moment)
    assert [api.post(CHAT, json=HELLO).status_code for _ in range(2)] == [200, 200]
    refused = api.post(CHAT, json=HELLO)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "3600"
    error = refused.json()["error"]
    assert error["type"] == "daily_budget_spent"
    assert "Today's 20 tokens are used up: 26 were used." in error["message"]
    assert "daily_tokens_per_person" in error["cure"]
    assert usage.today("u1") == usage.Today(tokens=26, answering=0)
    assert len(awake.asked) == 2, "the model was not asked"
    moment = clock.instant("2026-10-01T00:00:00.000Z")
    assert api.post(CHAT, json=HELLO).status_code == 200


def test_a_key_uses_the_day_of_the_person_who_made_it(awake: StandIn, api: TestClient) -> None:
    usage.end(usage.begin("u1")[0], tokens=10**6)
    key = caller_headers("key:0a1b2c3d4e5f", made_by="u1")
    refused = api.post(CHAT, json=HELLO, headers=key)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "daily_budget_spent")
    assert api.post("/api/wake", headers=key).status_code == 429
    assert api.get("/api/status", headers=key).json()["usage"]["tokens_today"] == 10**6


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"stream": True, "wait": True}])
def test_a_key_over_its_rate_limit_neither_asks_nor_wakes_the_model(
    awake: StandIn, api: TestClient, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(model_access, "invoke_endpoint_manager", woken.append)
    monkeypatch.setattr(clock, "now", lambda: clock.instant("2026-09-30T18:04:40.000Z"))
    headers = caller_headers(sub="key:0123456789ab", scopes="chat", requests_per_minute="1")
    if more.pop("wait", False):
        headers["Prefer"] = "wait=5"
    assert api.post(CHAT, json=HELLO, headers=headers).status_code == 200
    assert hosting_state.mark_asleep(hosting_state.state(), "Nobody asked.")
    refused = api.post(CHAT, json={**HELLO, **more}, headers=headers)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "too_many_requests")
    assert (len(awake.asked), woken) == (1, [])
    assert usage.today("key:0123456789ab").answering == 0


def test_a_malformed_question_of_a_key_counts_too(awake: StandIn, api: TestClient) -> None:
    headers = caller_headers(sub="key:0123456789ab", scopes="chat", requests_per_minute="60")
    assert api.post(CHAT, json={"messages": 1}, headers=headers).status_code == 422

    def counted() -> int:
        return sum(int(item.get("requests", 0)) for item in table.query("USAGE#key:0123456789ab"))

    _wait_until(lambda: counted() == 1)


def test_openais_client_does_not_ask_again_all_day(awake: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYLOOM_DAILY_TOKENS", "1")
    with running() as url:
        client = openai.OpenAI(base_url=f"{url}/api/v1", api_key="x", default_headers=PERSON, max_retries=60)
        client.chat.completions.create(model="storyloom", **HELLO)
        started = time.monotonic()
        with pytest.raises(openai.RateLimitError, match="used up"):
            client.chat.completions.create(model="storyloom", **HELLO)
    assert time.monotonic() - started < 30, "sixty tries would take minutes"


def test_concurrent_answers_are_limited(awake: StandIn, api: TestClient) -> None:
    slots = [usage.begin("u1")[0] for _ in range(limits.MAX_CONCURRENT_ANSWERS)]
    refused = api.post(CHAT, json=HELLO)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "5"
    assert refused.json()["error"]["type"] == "too_many_at_once"
    assert usage.today("u1").answering == limits.MAX_CONCURRENT_ANSWERS, "a refusal takes no place"
    assert api.post(CHAT, json=HELLO, headers=caller_headers("u2")).status_code == 200
    usage.end(slots[0], tokens=5)
    assert api.post(CHAT, json=HELLO).status_code == 200


def test_exactly_four_of_many_concurrent_requests_are_answered(resources: DeployedResources) -> None:
    together = threading.Barrier(12)

    def ask(number: int) -> int:
        together.wait()
        return usage.begin("u1")[1].answering

    with ThreadPoolExecutor(12) as pool:
        places = sorted(pool.map(ask, range(12)))
    assert places == list(range(1, 13))


def test_an_answer_whose_function_died_expires(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = clock.instant("2026-09-30T12:00:00.000Z")
    monkeypatch.setattr(clock, "now", lambda: moment)
    usage.begin("u1")
    moment = clock.instant("2026-09-30T12:15:00.000Z")
    assert usage.today("u1").answering == 1
    moment = clock.instant("2026-09-30T12:15:01.000Z")
    assert usage.today("u1").answering == 0
    assert usage.begin("u1")[1].answering == 1
    assert LONGEST_ANSWER.to_seconds() == usage.LONGEST_ANSWER_SECONDS


def test_a_chat_has_a_maximum_of_messages(awake: StandIn, api: TestClient) -> None:
    message = HELLO["messages"][0] | {"content": "x"}
    assert api.post(CHAT, json={"messages": [message] * 200}).status_code == 200
    refused = api.post(CHAT, json={"messages": [message] * 203})
    assert refused.status_code == 413
    error = refused.json()["error"]
    assert error["type"] == "too_many_messages"
    assert "oldest 3 or more" in error["cure"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_has_the_room_that_the_chat_leaves(awake: StandIn, api: TestClient, name: str) -> None:
    room = limits.context_tokens() - GUESSED
    assert api.post(CHAT, json={**HELLO, name: room}).status_code == 200
    refused = api.post(CHAT, json={**HELLO, name: room + 1})
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert error["type"] == "answer_too_long"
    assert f"room for {room}" in error["message"]


def test_the_status_names_every_limit(api: TestClient) -> None:
    program = caller_headers("key:0123456789ab", "chat", requests_per_minute="9")
    assert api.get("/api/status", headers=program).json()["limits"] == {
        "messages": 200,
        "prompt_characters": 3 * (4096 - 512),
        "context_tokens": 4096,
        "answers_at_once": 4,
        "requests_per_minute": 9,
        "upload_bytes": 50 * 2**20,
        "batch_bytes": 20 * 2**20,
        "batch_lines": 10_000,
        "batches_at_once": 2,
    }
    assert api.get("/api/status").json()["limits"]["requests_per_minute"] is None
