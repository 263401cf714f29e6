"""The timers: one-time schedules that call start_run, for stories and for a version that has to wait."""

import json
from datetime import timedelta
from typing import Any

from shared import aws, clock, environment

_SOON_SECONDS = 5
"""A schedule must lie in the future when it is made."""


def restart(reason: str) -> str:
    """Make the schedule, or move it forward, so that start_run is called when the bucket has been quiet.

    Returns:
        When it will fire, as text. The same text is in the call, so that start_run knows a call that the
        scheduler delivers twice.
    """
    schedule = environment.read(environment.Schedule)
    return _set(schedule.schedule_name, schedule.quiet_seconds, {"reason": reason})


def deploy_soon(version: str, reason: str) -> str:
    """Have start_run called for a version as soon as a schedule can fire; returns when, as text."""
    schedule = environment.read(environment.Schedule)
    return _set(schedule.deploy_schedule_name, _SOON_SECONDS, {"reason": reason, "version": version})


def _set(name: str, seconds: int, call: dict[str, str]) -> str:
    schedule = environment.read(environment.Schedule)
    due = clock.now() + timedelta(seconds=seconds)
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
    return clock.text(due)


def _create_or_move(fields: dict[str, Any]) -> None:
    # Two stories at once: both may find no schedule and one creation is refused; and a schedule may fire,
    # and so delete itself, between a refused creation and the move. Each is settled by trying again.
    client = aws.scheduler()
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
        "Drop any story again, or start a run with: storyloom runs start"
    )
