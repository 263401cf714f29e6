"""The quiet-period timer: one one-time schedule, moved forward by each new story."""

import json
from datetime import timedelta
from typing import Any

from shared import aws, clock, environment


def restart(reason: str) -> str:
    """Make the schedule, or move it forward, so that start_run is called when the bucket has been quiet.

    Returns:
        When it will fire, as text. The same text is in the call, so that start_run knows a call that the
        scheduler delivers twice.
    """
    schedule = environment.read(environment.Schedule)
    due = clock.now() + timedelta(seconds=schedule.quiet_seconds)
    fields: dict[str, Any] = {
        "Name": schedule.schedule_name,
        "GroupName": schedule.schedule_group,
        "ScheduleExpression": f"at({due:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": schedule.start_run_arn,
            "RoleArn": schedule.schedule_role_arn,
            "Input": json.dumps({"reason": reason, "due": clock.text(due)}),
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
