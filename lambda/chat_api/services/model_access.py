"""Access to the model: its names, whether it answers, and how it is woken and awaited."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Literal

from chat_api.errors import ApiError
from chat_api.services import limits
from contracts import environment, statuses
from shared import clock
from shared.aws import clients
from shared.hosting import hosting_state
from shared.items import HostingState, LivePointer
from shared.models import versions

LIVE_NAME = versions.LIVE_NAME
BASE_NAME = "base"

LONGEST_WAIT_SECONDS = 780
"""The longest wait of a stream; two of the API's fifteen minutes are left for the answer."""
POLL_SECONDS = 3.0
"""The interval at which a waiting stream checks the model. Each check sends a comment, so that CloudFront
does not end the stream."""

_TYPICAL_WAKE_SECONDS = 420
"""The typical start of a GPU endpoint, used until this one has been measured once."""
_CHECK_SECONDS = 4.0
"""The shortest interval between two checks of a waking endpoint that requests cause."""
_RETRIED_STAGES = {statuses.ASLEEP, statuses.WAKING, "unavailable"}

_last_check = float("-inf")


@dataclass(frozen=True)
class AwakeModel:
    """A model that answers requests now."""

    version: str
    """Its name at the endpoint."""
    last_used_at: clock.Utc | None
    """When it was last used before, according to the table."""


async def awake_model(name: str, state: HostingState, pointer: LivePointer | None) -> AwakeModel:
    """Return the model with this name if it is awake; otherwise wake it.

    Raises:
        ApiError: there is no model yet, none has this name, or it has to be woken first.
    """
    version = await asyncio.to_thread(endpoint_name, name, pointer)
    if state.status != statuses.AWAKE:
        raise await asyncio.to_thread(wake_for_request)
    await record_use(state.last_used_at)
    return AwakeModel(version, state.last_used_at)


async def record_use(last_used_at: clock.Utc | None) -> None:
    """Record that the model is used, unless that was recorded within the minute."""
    if not last_used_at or clock.seconds_since(last_used_at) > hosting_state.TOUCH_EVERY.total_seconds():
        await asyncio.to_thread(hosting_state.touch)


def loaded_names(pointer: LivePointer) -> list[str]:
    """Return the names of the models that answer requests, the live version's first."""
    known = [LIVE_NAME, pointer.version]
    if pointer.merged:
        return known
    previous = versions.get(pointer.previous) if pointer.previous else None
    base = environment.common().base_model
    if previous is not None and (previous.base_model, previous.base_revision) == (base.id, base.revision):
        known.append(previous.version)
    return [*known, BASE_NAME]


def endpoint_name(name: str, pointer: LivePointer | None) -> str:
    """Return the endpoint's name of the model with this name in the API.

    Raises:
        ApiError: there is no model yet, or none has this name.
    """
    if pointer is None:
        raise no_model_yet_error()
    if name == LIVE_NAME and pointer.merged:
        # The endpoint's own name of its only version, which is valid for both while it changes to another.
        return LIVE_NAME
    if name in {LIVE_NAME, pointer.version}:
        return pointer.version
    if name not in loaded_names(pointer):
        raise unknown_model_error(name, pointer)
    return name


def invoke_endpoint_manager(action: Literal["wake", "sleep", "tick"]) -> None:
    """Invoke the function that manages the endpoint, without waiting for it."""
    clients.lambdas().invoke(
        FunctionName=environment.read(environment.FunctionNames).endpoint_manager_function,
        InvocationType="Event",
        Payload=json.dumps({"action": action}).encode(),
    )


def check_waking_endpoint() -> None:
    """Check a waking endpoint now instead of at the next tick, but at most every few seconds."""
    global _last_check  # noqa: PLW0603 - once a process, which is what a Lambda environment is
    if time.monotonic() - _last_check > _CHECK_SECONDS:
        _last_check = time.monotonic()
        invoke_endpoint_manager("tick")


def wake_on_demand(caller: str) -> HostingState:
    """Wake the model if it sleeps, before a request needs it.

    Args:
        caller: the account whose tokens of the day must not be used up.

    Returns:
        The state after that.

    Raises:
        ApiError: there is no model, or the caller's tokens or the month's limit are used up.
    """
    limits.check_daily_tokens(caller)
    if versions.live() is None:
        raise no_model_yet_error()
    state = hosting_state.state()
    if state.status == statuses.ASLEEP or (
        state.status == statuses.FAILING and not hosting_state.retry_seconds(state)
    ):
        limits.require_wake_budget(state)
        invoke_endpoint_manager("wake")
        return state.model_copy(
            update={"status": statuses.WAKING, "since": clock.stamp(), "message": "Waking."}
        )
    return current_state(state)


def current_state(state: HostingState | None = None) -> HostingState:
    """Return the model's state as recorded, and have a waking endpoint checked."""
    state = state or hosting_state.state()
    if state.status == statuses.WAKING:
        check_waking_endpoint()
    return state


def put_to_sleep(person: str) -> HostingState:
    """Put the model to sleep for everybody.

    Returns:
        The state after that.
    """
    invoke_endpoint_manager("sleep")
    message = f"{person} put the model to sleep; the next message wakes it."
    return hosting_state.state().model_copy(update={"status": statuses.ASLEEP, "message": message})


def wake_for_request() -> ApiError:
    """Wake the model if it sleeps, and return the error that says when it will answer.

    Raises:
        ApiError: the month's limit leaves too little for its instance.
    """
    state = hosting_state.state()
    if state.status == statuses.WAKING:
        check_waking_endpoint()
    else:
        limits.require_wake_budget(state)
        invoke_endpoint_manager("wake")
    return not_awake_error(state)


def expected_wake_seconds(state: HostingState) -> int:
    """Estimate how long until the model answers, from how long it took last time."""
    typical = state.wake_seconds or _TYPICAL_WAKE_SECONDS
    elapsed = clock.seconds_since(state.since) if state.status == statuses.WAKING and state.since else 0
    return max(2, round(typical - elapsed + hosting_state.retry_seconds(state)))


class StreamRetryPolicy:
    """Decides how long a stream waits for a model that is not awake, and after which errors."""

    def __init__(self, seconds: float) -> None:
        """Start the time limit now."""
        self._deadline = time.monotonic() + seconds
        self._waited = False

    def should_retry(self, error: ApiError) -> bool:
        """Return whether to request the model again after this error.

        If the model could not be started, the first request after that wakes it once more; if it fails again,
        the stream stops waiting.
        """
        first, self._waited = not self._waited, True
        stage = error.detail.stage
        will_answer = stage in _RETRIED_STAGES or (stage == statuses.FAILING and first)
        return will_answer and time.monotonic() + POLL_SECONDS < self._deadline


def wait_progress(error: ApiError) -> str:
    """Return one line about a model that is not awake yet."""
    detail = error.detail
    return f"{detail.stage}: {detail.message} About {detail.expected_seconds} seconds."


def no_model_yet_error() -> ApiError:
    """Return the error for requests before the first version."""
    return ApiError(
        "no_model_yet",
        "There is no model yet: none has been trained and deployed.",
        "Add stories. A run starts by itself some time after the last upload.",
    )


def unknown_model_error(name: str, pointer: LivePointer) -> ApiError:
    """Return the error for a model that is not loaded."""
    cure = f"Use one of: {', '.join(loaded_names(pointer))}."
    if not pointer.merged or (name != BASE_NAME and versions.get(name) is None):
        return ApiError("model_not_found", f"There is no model {name!r}.", cure)
    only_live = (
        f"{name} is not loaded: the endpoint has only {pointer.version}, merged with its base model "
        f"({environment.common().base_model.id}), which the model server cannot host with adapters."
    )
    if name != BASE_NAME:
        cure += f" To make {name} live instead: storyloom models activate {name}."
    return ApiError("model_not_found", only_live, cure)


def not_awake_error(state: HostingState) -> ApiError:
    """Return the error for a model that does not answer yet."""
    expected = expected_wake_seconds(state)
    stage = statuses.WAKING if state.status == statuses.AWAKE else state.status
    reason = (state.message or "no reason was given").rstrip(".")
    retries_now = "" if hosting_state.retry_seconds(state) else " It is being started again."
    messages = {
        statuses.ASLEEP: "The model was asleep, so that it costs nothing. It is waking now.",
        statuses.WAKING: "The model is waking.",
        statuses.FAILING: f"The model could not be started: {reason}.{retries_now}",
    }
    return ApiError(
        f"model_{stage}",
        messages[stage],
        f"Send the same message again in about {expected} seconds.",
        retry_after_seconds=min(expected, 30),
        stage=stage,
        expected_seconds=expected,
    )
