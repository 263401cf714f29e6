"""Schedule the runs that start later: after uploads are debounced, or after the run in progress.

Each new story postpones the start, so that many files dropped over minutes start one run. The table has the
time of the first of them: however steadily others follow, the run starts at most `max_quiet_seconds` later.
The schedules are one-time schedules of EventBridge Scheduler that call start_run.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from contracts import environment, table_keys
from shared import clock, table
from shared.aws import clients

_SOON_SECONDS = 5
"""A schedule must lie in the future when it is created."""
_DEBOUNCE_KEY = table_keys.FIRST_UPLOAD
_LATE = timedelta(minutes=15)
"""If the schedule was due longer ago than this, it is gone and the quiet period is over."""


def _schedule_debounced_run(due: datetime, reason: str) -> datetime:
    """Create or move the schedule that calls start_run when no story has arrived for a while.

    Returns:
        When it will fire. The call contains the same time, so that start_run recognises a call that the
        scheduler delivers twice.
    """
    schedule = environment.read(environment.Schedule)
    return _schedule(schedule.schedule_name, due, {"reason": reason})


def schedule_deployment(version: str, reason: str) -> str:
    """Schedule a run that deploys a version, as soon as a schedule can fire; returns the time as text."""
    schedule = environment.read(environment.Schedule)
    due = _schedule(schedule.deploy_schedule_name, clock.now(), {"reason": reason, "version": version})
    return clock.text(due)


def _schedule(name: str, wanted: datetime, call: dict[str, str]) -> datetime:
    schedule = environment.read(environment.Schedule)
    due = max(wanted, clock.now() + timedelta(seconds=_SOON_SECONDS))
    fields: dict[str, Any] = {
        "Name": name,
        "GroupName": schedule.schedule_group,
        "ScheduleExpression": f"at({due:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": schedule.start_run_arn,
            "RoleArn": schedule.schedule_role_arn,
            "Input": json.dumps({**call, "due": clock.text(due)}),
        },
    }
    _create_or_move(fields)
    return due


def _create_or_move(fields: dict[str, Any]) -> None:
    # If two stories arrive at once, both may find no schedule, and one creation is refused. And a schedule
    # may fire, and so delete itself, between a refused creation and the move. Trying again settles both.
    client = clients.scheduler()
    for _ in range(5):
        try:
            client.update_schedule(**fields)
        except client.exceptions.ResourceNotFoundException:
            pass
        else:
            return
        try:
            client.create_schedule(**fields)
        except client.exceptions.ConflictException:
            continue
        return
    raise RuntimeError(
        f"The schedule {fields['Name']} could be neither created nor moved in five tries. "
        "Drop any story again, or start a run with: storyloom start"
    )


def debounce_run(reason: str) -> str:
    """Postpone the run that new stories start, within the maximum wait; returns the time of its start."""
    schedule = environment.read(environment.Schedule)
    now, seen = clock.now(), table.get(*_DEBOUNCE_KEY)
    since, set_for = now, None
    if seen is not None and now - clock.instant(seen["due"]) < _LATE:
        since, set_for = clock.instant(seen["since"]), clock.instant(seen["due"])
    longest = max(schedule.max_quiet_seconds, schedule.quiet_seconds)
    deadline = since + timedelta(seconds=longest)
    if set_for is not None and set_for >= deadline:
        # Keep the deadline even if it has just passed: EventBridge Scheduler may fire up to a minute late.
        return clock.text(set_for)
    due = _schedule_debounced_run(min(now + timedelta(seconds=schedule.quiet_seconds), deadline), reason)
    # If two stories arrive at once, the first write wins; the other's time differs by milliseconds only.
    table.update(
        *_DEBOUNCE_KEY, {"since": clock.text(since), "due": clock.text(due)}, only_if=_unchanged(seen)
    )
    return clock.text(due)


def end_debounce(due: str) -> None:
    """End the quiet period because its schedule has fired; the next story begins a new one."""
    table.delete_item(*_DEBOUNCE_KEY, only_if=Attr("due").lte(due))


def _unchanged(seen: table.Item | None) -> ConditionBase:
    return Attr("pk").not_exists() if seen is None else Attr("due").eq(seen["due"])
