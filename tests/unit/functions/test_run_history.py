"""The states of a run, read from the events of its execution."""

from datetime import UTC, datetime, timedelta
from typing import Any

from chat_api.services.run_history import _StateCollector

START = datetime(2026, 1, 1, tzinfo=UTC)


def _walk(*events: tuple[float, str, str]) -> list[tuple[str, str, float]]:
    collector = _StateCollector()
    for seconds, kind, name in events:
        event: dict[str, Any] = {"type": kind, "timestamp": START + timedelta(seconds=seconds)}
        for way in ("Entered", "Exited"):
            if kind.endswith(f"State{way}"):
                event[f"state{way}EventDetails"] = {"name": name}
        collector.add_event(event)
    return [(state.name, state.status, state.seconds) for state in collector.states()]


def test_the_visits_of_a_loop_add_up_and_what_lies_between_does_not() -> None:
    assert _walk(
        (0, "WaitStateEntered", "Wait"),
        (10, "WaitStateExited", "Wait"),
        (10, "TaskStateEntered", "Smoke"),
        (11, "TaskStateExited", "Smoke"),
        (11, "WaitStateEntered", "Wait"),
        (21, "WaitStateExited", "Wait"),
        (21, "TaskStateEntered", "Smoke"),
        (24, "TaskStateExited", "Smoke"),
        (24, "ExecutionSucceeded", ""),
    ) == [("Wait", "succeeded", 20.0), ("Smoke", "succeeded", 4.0)]


def test_a_state_that_the_execution_ended_in_failed_there() -> None:
    assert _walk((0, "TaskStateEntered", "Train"), (5, "TaskFailed", ""), (5, "ExecutionFailed", "")) == [
        ("Train", "failed", 5.0)
    ]
