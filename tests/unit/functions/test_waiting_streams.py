"""A stream that waits for the model sends its progress, and then the answer."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import openai
import pytest
from fastapi.testclient import TestClient

from chat_api.app import app
from chat_api.services import model_access
from shared import clock, table
from shared.accounts import keys
from shared.answers import usage
from shared.hosting import hosting_state
from tests.unit.functions.api_server import serving
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.people import SignedIn, somebody
from tests.unit.functions.sagemaker_stand_in import StandIn

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell me a story."}], "stream": True}
WORDS = ["Once", " upon", " a hill"]


def _event(choice: dict[str, Any]) -> bytes:
    return f"data: {json.dumps({'id': 'c', 'choices': [{'index': 0, **choice}]})}\n\n".encode()


@pytest.fixture
def asleep(awake_v1: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """v1 live and asleep; once awake it answers."""
    awake_v1.stream = [_event({"delta": {"content": word}, "finish_reason": None}) for word in WORDS]
    awake_v1.stream += [_event({"delta": {}, "finish_reason": "stop"}), b"data: [DONE]\n\n"]
    hosting_state.mark_asleep(hosting_state.state(), "Idle.")
    monkeypatch.setattr(model_access, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(model_access, "_CHECK_SECONDS", 0.0)
    return awake_v1


Meanwhile = list[Callable[[], object]]


@pytest.fixture
def meanwhile() -> Meanwhile:
    """What happens while the stream waits."""
    return []


@pytest.fixture
def endpoint_manager(monkeypatch: pytest.MonkeyPatch, meanwhile: Meanwhile) -> list[str]:
    """Wakes the model as the endpoint manager would: it is awake at the second look."""
    calls: list[str] = []

    def call(action: str) -> None:
        calls.append(action)
        while meanwhile:
            meanwhile.pop()()
        awake = calls.count("tick") >= 2
        table.update("HOSTING", "STATE", {"status": "awake" if awake else "waking", "since": clock.stamp()})

    monkeypatch.setattr(model_access, "invoke_endpoint_manager", call)
    return calls


@pytest.fixture
def person(resources: DeployedResources) -> Iterator[SignedIn]:
    """A reader in the user pool."""
    with somebody(resources.table, role="reader") as reader:
        yield reader


@pytest.fixture
def api(person: SignedIn) -> Iterator[TestClient]:
    """The app, for the reader, whom the authorizer has let in."""
    with TestClient(app, headers=caller_headers(person.sub), raise_server_exceptions=False) as client:
        yield client


def _ask(api: TestClient, prefer: str) -> list[str]:
    answer = api.post("/api/v1/chat/completions", json=HELLO, headers={"Prefer": prefer})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return answer.text.split("\n\n")[:-1]


@pytest.mark.parametrize("prefer", ["wait=600", 'respond-async, Wait="600"', "wait=600; handling=lenient"])
def test_the_stream_has_the_models_progress_and_then_the_answer(
    asleep: StandIn, api: TestClient, person: SignedIn, endpoint_manager: list[str], prefer: str
) -> None:
    events = _ask(api, prefer)
    comments = [event for event in events if event.startswith(": ")]
    assert comments[0].startswith(": asleep: The model was asleep")
    assert comments[1].startswith(": waking: The model is waking. About ")
    assert len(comments) == 3 and events[:3] == comments, "nothing but comments before the answer"
    said = [json.loads(event.removeprefix("data: ")) for event in events[3:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in said) == "".join(WORDS)
    assert events[-1] == "data: [DONE]"
    assert endpoint_manager == ["wake", "tick", "tick"]
    assert usage.today(person.sub).answering == 0


def test_openais_client_skips_the_comments(
    asleep: StandIn, endpoint_manager: list[str], person: SignedIn
) -> None:
    with serving() as url:
        client = openai.OpenAI(
            base_url=f"{url}/api/v1",
            api_key="token",
            default_headers={**caller_headers(person.sub), "Prefer": "wait=600"},
        )
        stream = client.chat.completions.create(
            model="storyloom", messages=[{"role": "user", "content": "Tell me a story."}], stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "".join(WORDS)


@pytest.mark.parametrize("prefer", ["", "wait=0", "wait=soon", "await=600", "respond-async"])
def test_without_the_header_the_response_says_when_to_retry(
    asleep: StandIn, api: TestClient, endpoint_manager: list[str], prefer: str
) -> None:
    answer = api.post("/api/v1/chat/completions", json=HELLO, headers={"Prefer": prefer})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "model_asleep")


def test_an_answer_in_one_piece_does_not_wait(
    asleep: StandIn, api: TestClient, endpoint_manager: list[str]
) -> None:
    body = {**HELLO, "stream": False}
    answer = api.post("/api/v1/chat/completions", json=body, headers={"Prefer": "wait=600"})
    assert answer.status_code == 503


def test_waiting_ends_with_the_last_error(
    asleep: StandIn,
    api: TestClient,
    person: SignedIn,
    endpoint_manager: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_access, "POLL_SECONDS", 0.7)
    *comments, last = _ask(api, "wait=1")
    assert len(comments) == 1
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["type"], error["stage"]) == ("model_waking", "waking")
    assert "Send the same message again" in error["cure"]
    assert usage.today(person.sub).answering == 0


@pytest.mark.parametrize("before", ["asleep", "failing"])
def test_a_model_that_cannot_be_started_is_not_waited_for(
    asleep: StandIn, api: TestClient, person: SignedIn, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    def fail(_: str) -> None:
        hosting_state.mark_failing("There is no instance.")

    if before == "failing":
        hosting_state.mark_failing("There was no instance yesterday.")
        table.update("HOSTING", "STATE", {"since": "2026-01-01T00:00:00Z"})
    monkeypatch.setattr(model_access, "invoke_endpoint_manager", fail)
    *comments, last = _ask(api, "wait=600")
    assert len(comments) == 1
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error["type"] == "model_failing"
    assert "There is no instance." in error["message"]
    assert usage.today(person.sub).answering == 0


def test_an_endpoint_that_is_deleted_during_a_request_is_waited_for(
    asleep: StandIn, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.update("HOSTING", "STATE", {"status": "awake"})
    gone, asleep.endpoint = asleep.endpoint, None
    calls: list[str] = []

    def call(action: str) -> None:
        calls.append(action)
        asleep.endpoint = gone

    monkeypatch.setattr(model_access, "invoke_endpoint_manager", call)
    events = _ask(api, "wait=600")
    assert events[0].startswith(": waking: ") and events[-1] == "data: [DONE]"
    assert calls == ["wake"]


def test_an_unexpected_error_is_sent_in_the_stream(
    asleep: StandIn, api: TestClient, person: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_: str) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(model_access, "invoke_endpoint_manager", stumble)
    (only,) = _ask(api, "wait=600")
    assert json.loads(only.removeprefix("data: "))["error"]["type"] == "internal_error"
    assert "secret" not in only
    assert usage.today(person.sub).answering == 0


def _remove(person: SignedIn) -> None:
    boto3.client("cognito-idp").admin_delete_user(UserPoolId=person.pool, Username=person.sub)


def _take_role(person: SignedIn) -> None:
    boto3.client("cognito-idp").admin_remove_user_from_group(
        UserPoolId=person.pool, Username=person.sub, GroupName="reader"
    )


@pytest.mark.parametrize("end", [_remove, _take_role])
@pytest.mark.usefixtures("endpoint_manager")
def test_a_person_removed_while_they_wait_is_refused(
    asleep: StandIn, api: TestClient, person: SignedIn, end: Callable[[SignedIn], None], meanwhile: Meanwhile
) -> None:
    meanwhile.append(lambda: end(person))
    *comments, last = _ask(api, "wait=600")
    assert len(comments) == 3
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "unauthorized"
    assert asleep.asked == []
    assert usage.today(person.sub).answering == 0


def test_a_person_removed_while_they_wait_wakes_nothing(
    asleep: StandIn, api: TestClient, person: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def call(action: str) -> None:
        calls.append(action)
        _remove(person)
        hosting_state.mark_asleep(hosting_state.state(), "An owner put it to sleep.")

    monkeypatch.setattr(model_access, "invoke_endpoint_manager", call)
    *_, last = _ask(api, "wait=2")
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "unauthorized"
    assert calls == ["wake"]


@pytest.mark.parametrize("end", ["revoked_at", "expires_at"])
@pytest.mark.usefixtures("endpoint_manager")
def test_a_key_that_expires_while_it_waits_is_refused(
    asleep: StandIn, person: SignedIn, end: str, meanwhile: Meanwhile
) -> None:
    key, _ = keys.issue_key("program", ["chat"], 60, by=person.sub, email="")
    meanwhile.append(lambda: table.update("KEYS", key.key_id, {end: clock.stamp()}))
    by_key = caller_headers(f"key:{key.key_id}", made_by=person.sub)
    with TestClient(app, headers=by_key, raise_server_exceptions=False) as api:
        last = _ask(api, "wait=600")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "unauthorized"
    assert asleep.asked == []


def _unknown(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "model": "v9"}


def _too_long(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "messages": [{"role": "user", "content": "word " * 10_000}]}


@pytest.mark.parametrize(("spoil", "status"), [(_unknown, 404), (_too_long, 413)])
def test_what_no_waiting_helps_is_refused_at_once(
    asleep: StandIn,
    api: TestClient,
    endpoint_manager: list[str],
    spoil: Callable[[dict[str, Any]], dict[str, Any]],
    status: int,
) -> None:
    answer = api.post("/api/v1/chat/completions", json=spoil(HELLO), headers={"Prefer": "wait=600"})
    assert answer.status_code == status
    assert endpoint_manager == []
