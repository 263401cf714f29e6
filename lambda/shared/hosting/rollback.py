"""Alarms that roll an endpoint update back: how long they are watched, and which of them fired."""

from datetime import datetime, timedelta
from typing import Any

from contracts import environment
from shared.aws import clients
from shared.hosting import endpoint_configs

_SLACK = timedelta(minutes=15)
"""How long SageMaker may need for a rollback after an alarm."""


def alarms() -> list[str]:
    """Return the names of the CloudWatch alarms that cause a rollback."""
    return _settings().rollback_alarms


def is_alarm_active() -> bool:
    """Return whether an alarm is active now; before an update, it is about the version to be replaced."""
    return any(_last_change(alarm).endswith("to ALARM") for alarm in alarms())


def _last_change(alarm: str) -> str:
    """Return CloudWatch's summary of the alarm's last change of state; empty if that is too long ago.

    The functions may read the history anyway, to name the alarm after a rollback (see `rollback_reason`).
    """
    history = clients.cloudwatch().describe_alarm_history(AlarmName=alarm, HistoryItemType="StateUpdate")
    newest = max(history["AlarmHistoryItems"], key=lambda item: item["Timestamp"], default=None)
    return newest["HistorySummary"] if newest else ""


def rollback_reason(changed_at: datetime, seen_at: datetime) -> str | None:
    """Return a sentence that names the alarms behind a rollback; None if no alarm was active.

    SageMaker leaves the endpoint's FailureReason empty after some rollbacks.

    Args:
        changed_at: when the endpoint's status last changed.
        seen_at: when it was observed.
    """
    since = changed_at - timedelta(seconds=watch_seconds()) - _SLACK
    active = []
    for alarm in alarms():
        history = clients.cloudwatch().describe_alarm_history(
            AlarmName=alarm, HistoryItemType="StateUpdate", StartDate=since, EndDate=seen_at
        )["AlarmHistoryItems"]
        if any(item["HistorySummary"].endswith("to ALARM") for item in history):
            active.append(alarm)
    if not active:
        return None
    return f"While the new one was watched, an alarm fired: {', '.join(active)}."


def watch_seconds() -> int:
    """Return how long a new version is watched before the old version's instances are released."""
    return round(_settings().watch_minutes * 60)


def deployment_config() -> dict[str, Any]:
    """Return a blue/green update that shifts all traffic at once and rolls back if an alarm fires.

    The old instances stay for `watch_seconds` after the shift.
    """
    seconds = watch_seconds()
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": seconds,
            "MaximumExecutionTimeoutInSeconds": 2 * endpoint_configs.START_SECONDS + seconds,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm} for alarm in alarms()]},
    }


def _settings() -> environment.Hosting:
    return environment.read(environment.Hosting)
