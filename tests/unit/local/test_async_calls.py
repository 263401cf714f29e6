"""Lambda's queue for asynchronous calls: which of them are tried again, when, and for how long."""

import threading

import pytest

from local.aws.services.async_calls import RETRY_VARIABLE, AsyncCall, AsyncQueues, Outcome


def _delays(outcomes: list[Outcome], **changes: float) -> list[float | None]:
    call = AsyncCall("any", lambda: "done", **changes)  # type: ignore[arg-type]
    return [call.next_try(outcome) for outcome in outcomes]


@pytest.mark.aws_fact
def test_a_function_that_fails_gets_its_event_twice_more() -> None:
    assert _delays(["failed", "failed", "failed"]) == [60, 120, None]
    assert _delays(["failed"], retries=0) == [None]
    assert _delays(["done"]) == [None]


@pytest.mark.aws_fact
def test_a_throttled_event_is_tried_again_for_six_hours() -> None:
    assert _delays(["throttled"] * 10) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert _delays(["throttled"] * 3, age_seconds=3) == [1, 2, None]
    # Being throttled uses up none of the tries of a function that fails.
    assert _delays(["throttled", "failed", "throttled", "failed", "failed"]) == [1, 60, 2, 120, None]


def test_what_fails_until_the_last_try_is_given_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RETRY_VARIABLE, "0")
    tries: list[str] = []
    given_up = threading.Event()

    def fail() -> Outcome:
        tries.append("once")
        raise RuntimeError("the function's worker is gone")

    AsyncQueues().put(AsyncCall("any", fail, given_up.set))
    assert given_up.wait(10)
    assert len(tries) == 3
