"""What the table says of the endpoint: asleep, waking, awake or failing.

Every change is conditional on the state it was decided from, so that racing wakes, an idle deletion and an
arriving message settle on one outcome. The keeper's tick repairs whatever a crash left in between.
"""

from datetime import timedelta

from boto3.dynamodb.conditions import Attr, ConditionBase

from contracts import environment, table_keys
from shared import clock
from shared.hosting import machines
from shared.models import versions
from shared.table import table
from shared.table.items import HostingState, LivePointer, Shortage

_KEY = table_keys.HOSTING_STATE
TOUCH_EVERY = timedelta(minutes=1)
"""How often it is written down that the model is used."""
LONGEST_CHANGE = timedelta(minutes=90)
"""A change that takes longer hangs: SageMaker gives up the slowest start that we allow before that."""
_GUARD_AFTER = timedelta(minutes=15)
"""How much later than the keeper the guard acts: two of the keeper's ticks may be late or lost."""
_FAILED_SECONDS = 60
"""For this long an endpoint that failed is not tried again."""
CAPACITY_SECONDS = 600
"""The same where no machine of the list could be had: they seldom come back at once."""


def state() -> HostingState:
    """Read the state; before the first deployment the model is asleep."""
    return HostingState.model_validate(table.get(*_KEY) or {})


def state_and_live() -> tuple[HostingState, LivePointer | None]:
    """Read the state and which version answers, in one call: every question to the model begins with it."""
    kept, pointer = table.get_all([_KEY, versions.LIVE])
    return HostingState.model_validate(kept or {}), versions.read_pointer(pointer)


def claim_waking(version: str, endpoint_config: str) -> bool:
    """Go from asleep or failing to waking; exactly one of many callers gets True and makes the endpoint."""
    resting = Attr("status").not_exists() | Attr("status").is_in(["asleep", "failing"])
    changes = {
        "status": "waking",
        "version": version,
        "endpoint_config": endpoint_config,
        "requested": None,
        "tried": None,
        "since": clock.stamp(),
        "last_used_at": clock.stamp(),
        "sleep_by": _sleep_by(LONGEST_CHANGE),
        "message": _starting(endpoint_config),
    }
    return table.update(*_KEY, changes, only_if=resting)


def mark_waking(version: str, endpoint_config: str, message: str | None = None) -> None:
    """Record that the endpoint is being made, whoever asked for it."""
    changes = {
        "status": "waking",
        "version": version,
        "endpoint_config": endpoint_config,
        "since": clock.stamp(),
        "sleep_by": _sleep_by(LONGEST_CHANGE),
        "message": message or _starting(endpoint_config),
    }
    table.update(*_KEY, changes)


def mark_awake(version: str, endpoint_config: str) -> None:
    """Record that this version answers, and how long that took where it was woken."""
    before = state()
    changes: dict[str, object] = {
        "status": "awake",
        "version": version,
        "endpoint_config": endpoint_config,
        "since": clock.stamp(),
        "last_used_at": clock.stamp(),
        "sleep_by": _sleep_by(_idle()),
        "message": f"{version} answers.",
    }
    if before.status == "waking" and before.since:
        changes["wake_seconds"] = round(clock.seconds_since(before.since), 1)
    table.update(*_KEY, changes)


def note_version(version: str) -> None:
    """Record that another of the loaded versions answers; where none answers now, waking tells which does."""
    seen = state()
    changes = {"version": version} | ({"message": f"{version} answers."} if seen.status == "awake" else {})
    if seen.status in {"awake", "waking"}:
        table.update(*_KEY, changes, only_if=Attr("since").eq(seen.since))


def mark_asleep(seen: HostingState, message: str) -> bool:
    """Record that there is no endpoint; returns False where someone used or woke it since it was seen."""
    unchanged: ConditionBase = (
        Attr("status").not_exists() if seen.since is None else Attr("since").eq(seen.since)
    )
    if seen.last_used_at is not None:
        unchanged = unchanged & Attr("last_used_at").eq(seen.last_used_at)
    changes = {"status": "asleep", "since": clock.stamp(), "requested": None, "message": message}
    return table.update(*_KEY, changes, only_if=unchanged)


def mark_stopped(message: str) -> None:
    """Record that there is no endpoint any more, whoever used it a moment ago."""
    changes = {
        "status": "asleep",
        "since": clock.stamp(),
        "requested": None,
        "tried": None,
        "message": message,
    }
    table.update(*_KEY, changes)


def put_to_rest() -> None:
    """Record that there is no endpoint any more because the deployment is being deleted."""
    if state().status != "asleep":
        mark_stopped(
            "The deployment that hosted the model was deleted; a message wakes the model in this one."
        )


def mark_failing(message: str, tried: dict[str, Shortage] | None = None) -> None:
    """Record why the endpoint cannot be brought up.

    Args:
        message: the reason, with its cure.
        tried: where that is a lack of machines, which were tried.
    """
    changes = {"status": "failing", "since": clock.stamp(), "message": message, "tried": tried}
    table.update(*_KEY, changes)


def note_shortage(seen: HostingState, tried: dict[str, Shortage], endpoint_config: str, message: str) -> bool:
    """Record that the endpoint is to be made in another configuration, on the next machine of the list.

    Returns False where the state changed since it was seen. An endpoint that answers goes on in its own.
    """
    changes: dict[str, object] = {"tried": tried, "requested": None, "message": message}
    if seen.status == "waking":
        changes |= {"endpoint_config": endpoint_config, "since": clock.stamp()}
    unchanged = Attr("status").eq(seen.status) & Attr("since").eq(seen.since)
    return table.update(*_KEY, changes, only_if=unchanged)


def note_tried(tried: dict[str, Shortage]) -> None:
    """Record which machines could not be had beside the one that answers."""
    table.update(*_KEY, {"tried": tried})


def retry_seconds(state: HostingState) -> float:
    """Return for how long a failed endpoint is not tried again; 0 where it may be, or did not fail."""
    if state.status != "failing" or state.since is None:
        return 0
    wait = CAPACITY_SECONDS if state.tried else _FAILED_SECONDS
    return max(0, wait - clock.seconds_since(state.since))


def note_request(endpoint_config: str) -> None:
    """Record which configuration SageMaker last accepted for the endpoint."""
    table.update(*_KEY, {"requested": endpoint_config})


def forget_refusals() -> None:
    """Have everything tried again that SageMaker refused before."""
    table.update(*_KEY, {"requested": None, "tried": None})


def touch(at_once: bool = False) -> bool:
    """Note that the model is being used, at most once a minute unless `at_once`.

    Returns:
        False where the model is not awake (or, harmlessly, was touched within the minute).
    """
    due: ConditionBase | None = None
    if not at_once:
        before = clock.text(clock.now() - TOUCH_EVERY)
        due = Attr("last_used_at").not_exists() | Attr("last_used_at").lt(before)
    for status, more in (("awake", {"sleep_by": _sleep_by(_idle())}), ("waking", {})):
        current: ConditionBase = Attr("status").eq(status)
        changes = {"last_used_at": clock.stamp(), **more}
        if table.update(*_KEY, changes, only_if=current & due if due else current):
            return True
    return False


def forget_deadline() -> None:
    """Record that there is no endpoint that the guard could delete."""
    table.update(*_KEY, {"sleep_by": None}, only_if=Attr("status").eq("asleep"))


def _sleep_by(allowed: timedelta) -> clock.Utc:
    """Return when the guard deletes the endpoint, if nothing happens that moves it."""
    return clock.text(clock.now() + allowed + _GUARD_AFTER)


def _idle() -> timedelta:
    return timedelta(minutes=environment.read(environment.IdleTime).idle_minutes)


def _starting(endpoint_config: str) -> str:
    instance = machines.instance_of(endpoint_config)
    return f"Starting the machine that hosts the model{f' ({instance})' if instance else ''}."
