"""Answers, and streams that wait for the model, leave room for the functions that look after it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import EndpointConnectionError
from fastapi.testclient import TestClient

from chat_api.app import app
from chat_api.errors import ApiError
from chat_api.services import limits
from endpoint_manager.handler import handler as endpoint_manager
from shared import clock, table
from shared.answers import usage
from shared.aws import clients
from tests.unit.functions.conftest import DeployedResources, caller_headers

NEW_ACCOUNT = 10
"""What AWS gives a new account; Lambda's own default is 1,000."""


class _Lambdas:
    """Lambda as far as an account's settings go."""

    def __init__(self, unreserved: int) -> None:
        self.unreserved = unreserved

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"UnreservedConcurrentExecutions": self.unreserved}}


@pytest.fixture
def account(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Lambdas]:
    """A new account."""
    lambdas = _Lambdas(NEW_ACCOUNT)
    monkeypatch.setattr(clients, "lambdas", lambda: lambdas)
    yield lambdas


def _acquired(callers: int) -> list[usage.RequestSlot]:
    def acquire(number: int) -> usage.RequestSlot | None:
        try:
            return limits.acquire_answer_slot(f"u{number}")
        except ApiError as refusal:
            assert (refusal.status, refusal.detail.type) == (429, "too_many_answers")
            assert refusal.headers["Retry-After"]
            return None

    with ThreadPoolExecutor(callers) as pool:
        return [slot for slot in pool.map(acquire, range(callers)) if slot is not None]


def test_ten_callers_at_once_leave_concurrency_in_a_new_account(account: _Lambdas) -> None:
    slots = _acquired(10)
    # Those that are refused count for a moment, too: no more than there is room for, and at least one.
    assert 1 <= len(slots) <= NEW_ACCOUNT - usage.KEPT_FREE
    for slot in slots:
        usage.end(slot, tokens=1)
    for number in range(6):
        limits.acquire_answer_slot(f"v{number}")
    with pytest.raises(ApiError, match="6 answers"):
        limits.acquire_answer_slot("v6")


def test_the_endpoint_manager_reads_the_accounts_concurrency(
    account: _Lambdas, context: LambdaContext
) -> None:
    account.unreserved = 1000
    endpoint_manager({"action": "tick"}, context)
    assert len(_acquired(20)) == 20


def test_an_account_with_minimal_concurrency_still_answers(account: _Lambdas, context: LambdaContext) -> None:
    account.unreserved = 3
    endpoint_manager({"action": "tick"}, context)
    limits.acquire_answer_slot("u1")


def test_the_slot_of_a_function_that_died_expires(account: _Lambdas, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        limits.acquire_answer_slot(f"u{number}")
    with pytest.raises(ApiError):
        limits.acquire_answer_slot("u7")
    later = clock.now() + timedelta(seconds=usage.LONGEST_ANSWER_SECONDS + 1)
    monkeypatch.setattr(clock, "now", lambda: later)
    limits.acquire_answer_slot("u7")
    active = (table.get("USAGE", "ANSWERS") or {})["active"]
    assert len(active) == 1, "what is stale is forgotten, or the item would grow for ever"


def test_streams_that_wait_for_the_model_take_slots(
    account: _Lambdas, resources: DeployedResources, live_v1: str
) -> None:
    for number in range(6):
        limits.acquire_answer_slot(f"u{number}")
    with TestClient(app, headers=caller_headers("late")) as client:
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
        answer = client.post("/api/v1/chat/completions", json=body, headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "too_many_answers")


def test_a_refused_caller_holds_no_slot(account: _Lambdas) -> None:
    slots = [limits.acquire_answer_slot("u1") for _ in range(limits.MAX_CONCURRENT_ANSWERS)]
    with pytest.raises(ApiError, match="written for you"):
        limits.acquire_answer_slot("u1")
    assert len((table.get("USAGE", "ANSWERS") or {})["active"]) == len(slots)


@pytest.mark.parametrize("failing", ["USAGE", "USAGE#u1"], ids=["all", "the caller"])
def test_a_failed_count_holds_no_slot(
    account: _Lambdas, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    add = table.add

    def add_or_fail(pk: str, sk: str, additions: Any, **more: Any) -> Any:
        if pk == failing and additions.get("active"):
            raise EndpointConnectionError(endpoint_url="https://dynamodb")
        return add(pk, sk, additions, **more)

    monkeypatch.setattr(table, "add", add_or_fail)
    with pytest.raises(EndpointConnectionError):
        limits.acquire_answer_slot("u1")
    assert "active" not in (table.get("USAGE", "ANSWERS") or {})
    assert "active" not in (table.get("USAGE#u1", clock.day()) or {})
