"""The state of the endpoint in the table: asleep, waking, awake or failing.

Every change is conditional on the state that it was decided from, so that racing wakes, an idle deletion and
an arriving message agree on one outcome. The endpoint manager's tick repairs what a crash left in between.
"""

from datetime import timedelta

from boto3.dynamodb.conditions import Attr, ConditionBase

from contracts import environment, statuses, table_keys
from shared import clock, table
from shared.hosting import endpoint_configs
from shared.items import HostingState, LivePointer, Shortage
from shared.models import versions

_KEY = table_keys.HOSTING_STATE
TOUCH_EVERY = timedelta(minutes=1)
"""The shortest time between two records of the model's use."""
LONGEST_CHANGE = timedelta(minutes=90)
"""A change that takes longer is stuck: SageMaker gives up the slowest start that we allow before that."""
_GUARD_AFTER = timedelta(minutes=15)
"""How much later than the endpoint manager the guard acts: two of the manager's ticks may be late or lost."""
_FAILED_SECONDS = 60
"""The time before a failed endpoint is tried again."""
CAPACITY_SECONDS = 600
"""The same if no instance type could be had, because they are seldom available again at once."""


def state() -> HostingState:
    """Read the state; the model is asleep before the first deployment."""
    return HostingState.model_validate(table.get(*_KEY) or {})


def state_and_live() -> tuple[HostingState, LivePointer | None]:
    """Read the state and the live pointer in one call, with which every request to the model begins."""
    kept, pointer = table.get_all([_KEY, versions.LIVE])
    return HostingState.model_validate(kept or {}), versions.read_pointer(pointer)


def claim_waking(version: str, endpoint_config: str) -> bool:
    """Go from asleep or failing to waking; exactly one of many callers gets True and creates the endpoint."""
    resting = Attr("status").not_exists() | Attr("status").is_in([statuses.ASLEEP, statuses.FAILING])
    changes = {
        "status": statuses.WAKING,
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
    """Record that the endpoint is being created, whatever its state was."""
    changes = {
        "status": statuses.WAKING,
        "version": version,
        "endpoint_config": endpoint_config,
        "since": clock.stamp(),
        "sleep_by": _sleep_by(LONGEST_CHANGE),
        "message": message or _starting(endpoint_config),
    }
    table.update(*_KEY, changes)


def mark_awake(version: str, endpoint_config: str) -> None:
    """Record that this version answers, and if it was waking, how long that took."""
    before = state()
    changes: dict[str, object] = {
        "status": statuses.AWAKE,
        "version": version,
        "endpoint_config": endpoint_config,
        "since": clock.stamp(),
        "last_used_at": clock.stamp(),
        "sleep_by": _sleep_by(_idle()),
        "message": f"{version} answers.",
    }
    if before.status == statuses.WAKING and before.since:
        changes["wake_seconds"] = round(clock.seconds_since(before.since), 1)
    table.update(*_KEY, changes)


def record_version(version: str) -> None:
    """Record that another loaded version answers, or will answer if the endpoint is waking."""
    seen = state()
    changes = {"version": version} | (
        {"message": f"{version} answers."} if seen.status == statuses.AWAKE else {}
    )
    if seen.status in {statuses.AWAKE, statuses.WAKING}:
        table.update(*_KEY, changes, only_if=Attr("since").eq(seen.since))


def mark_asleep(seen: HostingState, message: str) -> bool:
    """Record that there is no endpoint; returns False if it was used or woken since the state was read."""
    unchanged: ConditionBase = (
        Attr("status").not_exists() if seen.since is None else Attr("since").eq(seen.since)
    )
    if seen.last_used_at is not None:
        unchanged = unchanged & Attr("last_used_at").eq(seen.last_used_at)
    changes = {"status": statuses.ASLEEP, "since": clock.stamp(), "requested": None, "message": message}
    return table.update(*_KEY, changes, only_if=unchanged)


def mark_stopped(message: str) -> None:
    """Record that there is no endpoint any more, even if it was used a moment ago."""
    changes = {
        "status": statuses.ASLEEP,
        "since": clock.stamp(),
        "requested": None,
        "tried": None,
        "message": message,
    }
    table.update(*_KEY, changes)


def mark_deployment_deleted() -> None:
    """Record that there is no endpoint any more, because the deployment is being deleted."""
    if state().status != statuses.ASLEEP:
        mark_stopped(
            "The deployment that hosted the model was deleted; a message wakes the model in this one."
        )


def mark_failing(message: str, tried: dict[str, Shortage] | None = None) -> None:
    """Record why the endpoint cannot be started.

    Args:
        message: the reason, with its cure.
        tried: the instance types that were tried, if none could be had.
    """
    changes = {"status": statuses.FAILING, "since": clock.stamp(), "message": message, "tried": tried}
    table.update(*_KEY, changes)


def record_shortage(
    seen: HostingState, tried: dict[str, Shortage], endpoint_config: str, message: str
) -> bool:
    """Record that the endpoint gets another configuration, with the next instance type of the list.

    An endpoint that answers keeps its configuration.

    Returns:
        False if the state changed since it was read.
    """
    changes: dict[str, object] = {"tried": tried, "requested": None, "message": message}
    if seen.status == statuses.WAKING:
        changes |= {"endpoint_config": endpoint_config, "since": clock.stamp()}
    unchanged = Attr("status").eq(seen.status) & Attr("since").eq(seen.since)
    return table.update(*_KEY, changes, only_if=unchanged)


def record_tried(tried: dict[str, Shortage]) -> None:
    """Record which instance types could not be had in addition to the one that answers."""
    table.update(*_KEY, {"tried": tried})


def retry_seconds(state: HostingState) -> float:
    """Return the seconds until a failed endpoint is tried again; 0 if it may be now, or did not fail."""
    if state.status != statuses.FAILING or state.since is None:
        return 0
    wait = CAPACITY_SECONDS if state.tried else _FAILED_SECONDS
    return max(0, wait - clock.seconds_since(state.since))


def record_request(endpoint_config: str) -> None:
    """Record which configuration SageMaker last accepted for the endpoint."""
    table.update(*_KEY, {"requested": endpoint_config})


def clear_refusals() -> None:
    """Clear what SageMaker refused, so that everything is tried again."""
    table.update(*_KEY, {"requested": None, "tried": None})


def touch(at_once: bool = False) -> bool:
    """Record that the model is being used, at most once a minute unless `at_once`.

    Returns:
        False if the model is not awake, or its use was recorded within the last minute.
    """
    due: ConditionBase | None = None
    if not at_once:
        before = clock.text(clock.now() - TOUCH_EVERY)
        due = Attr("last_used_at").not_exists() | Attr("last_used_at").lt(before)
    for status, more in ((statuses.AWAKE, {"sleep_by": _sleep_by(_idle())}), (statuses.WAKING, {})):
        current: ConditionBase = Attr("status").eq(status)
        changes = {"last_used_at": clock.stamp(), **more}
        if table.update(*_KEY, changes, only_if=current & due if due else current):
            return True
    return False


def clear_deadline() -> None:
    """Clear the guard's deadline, because there is no endpoint to delete."""
    table.update(*_KEY, {"sleep_by": None}, only_if=Attr("status").eq(statuses.ASLEEP))


def _sleep_by(allowed: timedelta) -> clock.Utc:
    """Return when the guard deletes the endpoint, unless the deadline is moved."""
    return clock.text(clock.now() + allowed + _GUARD_AFTER)


def _idle() -> timedelta:
    return timedelta(minutes=environment.read(environment.IdleTime).idle_minutes)


def _starting(endpoint_config: str) -> str:
    instance = endpoint_configs.instance_of(endpoint_config)
    return f"Starting the instance that hosts the model{f' ({instance})' if instance else ''}."
