"""Wakes the model, and says how long that will take."""

import json
import time
from typing import Literal

from chat_api.dependencies import spending
from chat_api.dependencies.errors import ApiError
from contracts import environment
from shared import clock
from shared.aws import clients
from shared.hosting import hosting_state
from shared.items import HostingState

_USUAL_SECONDS = 420
"""How long a GPU endpoint usually takes, until this one has been measured once."""
_NUDGE_SECONDS = 4.0

_last_nudge = float("-inf")


def call_endpoint_manager(action: Literal["wake", "sleep", "tick"]) -> None:
    """Have the endpoint manager act, without waiting for it."""
    clients.lambdas().invoke(
        FunctionName=environment.read(environment.Api).endpoint_manager_function,
        InvocationType="Event",
        Payload=json.dumps({"action": action}).encode(),
    )


def nudge() -> None:
    """While the model wakes, have the endpoint manager look now; every few seconds at most."""
    global _last_nudge  # noqa: PLW0603 - once a process, which is what a Lambda environment is
    if time.monotonic() - _last_nudge > _NUDGE_SECONDS:
        _last_nudge = time.monotonic()
        call_endpoint_manager("tick")


def wake() -> ApiError:
    """Have the model woken where it sleeps, and say when it will answer.

    Returns:
        503 with `Retry-After`, for the caller to raise.

    Raises:
        ApiError: 402 if the month has no money for its machine.
    """
    state = hosting_state.state()
    if state.status == "waking":
        nudge()
    else:
        spending.require_wake(state)
        call_endpoint_manager("wake")
    return not_awake(state)


def not_awake(state: HostingState) -> ApiError:
    """Describe a model that does not answer yet."""
    expected = expected_seconds(state)
    resting = hosting_state.retry_seconds(state)
    stage = "waking" if state.status == "awake" else state.status
    words = {
        "asleep": "The model was asleep, to cost nothing. It is being woken.",
        "waking": "The model is waking.",
        "failing": _why_not(state) + ("" if resting else " Trying again."),
    }
    return ApiError(
        503,
        f"model_{stage}",
        words[stage],
        f"Send the same message again in about {expected} seconds.",
        headers={"Retry-After": str(min(expected, 30))},
        stage=stage,
        expected_seconds=expected,
    )


def _why_not(state: HostingState) -> str:
    reason = (state.message or "no reason was given").rstrip(".")
    return f"The model could not be started: {reason}."


def expected_seconds(state: HostingState) -> int:
    """Guess how long until the model answers, from how long it took last time."""
    usual = state.wake_seconds or _USUAL_SECONDS
    gone = clock.seconds_since(state.since) if state.status == "waking" and state.since else 0
    return max(2, round(usual - gone + hosting_state.retry_seconds(state)))
