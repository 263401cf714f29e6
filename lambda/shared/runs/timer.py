"""The timers: one-time schedules that call start_run, for stories and for a version that has to wait."""

import json
from datetime import datetime, timedelta
from typing import Any

from contracts import environment
from shared import clock
from shared.aws import clients

_SOON_SECONDS = 5
"""A schedule must lie in the future when it is made."""


def set_quiet(due: datetime, reason: str) -> datetime:
    """Make the schedule, or move it, so that start_run is called when the bucket has been quiet.

    Returns:
        When it will fire. The same instant is in the call, so that start_run knows a call that the scheduler
        delivers twice.
    """
    schedule = environment.read(environment.Schedule)
    return _set(schedule.schedule_name, due, {"reason": reason})


def deploy_soon(version: str, reason: str) -> str:
    """Have start_run called for a version as soon as a schedule can fire; returns when, as text."""
    schedule = environment.read(environment.Schedule)
    due = _set(schedule.deploy_schedule_name, clock.now(), {"reason": reason, "version": version})
    return clock.text(due)


def _set(name: str, wanted: datetime, call: dict[str, str]) -> datetime:
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
    # Two stories at once: both may find no schedule and one creation is refused; and a schedule may fire,
    # and so delete itself, between a refused creation and the move. Each is settled by trying again.
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
