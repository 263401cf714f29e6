"""What a new version is watched for while the one before it can still take over, and what made it do so."""

from datetime import timedelta
from typing import TYPE_CHECKING

from contracts import environment
from shared.aws import clients

if TYPE_CHECKING:
    from shared.hosting.endpoint import Endpoint

_SLACK = timedelta(minutes=15)
"""How long SageMaker may need to put the old machines back after an alarm."""


def alarms() -> list[str]:
    """Names of the CloudWatch alarms that have the version before put back."""
    return _settings().rollback_alarms


def ringing() -> bool:
    """Whether one of the alarms rings now: before a change it rings for what is to be replaced."""
    return any(_last_change(alarm).endswith("to ALARM") for alarm in alarms())


def _last_change(alarm: str) -> str:
    """Return what CloudWatch wrote down of the alarm's last change of state; nothing if it is long ago.

    The functions need the history anyway, to name the alarm after a rollback (see `why`).
    """
    history = clients.cloudwatch().describe_alarm_history(AlarmName=alarm, HistoryItemType="StateUpdate")
    newest = max(history["AlarmHistoryItems"], key=lambda item: item["Timestamp"], default=None)
    return newest["HistorySummary"] if newest else ""


def why(put_back: "Endpoint") -> str | None:
    """Say which alarms rang before SageMaker put a configuration back; None where none did.

    SageMaker leaves the endpoint's FailureReason empty after some rollbacks.
    """
    since = put_back.changed_at - timedelta(seconds=watch_seconds()) - _SLACK
    rang = []
    for alarm in alarms():
        history = clients.cloudwatch().describe_alarm_history(
            AlarmName=alarm, HistoryItemType="StateUpdate", StartDate=since, EndDate=put_back.seen_at
        )["AlarmHistoryItems"]
        if any(item["HistorySummary"].endswith("to ALARM") for item in history):
            rang.append(alarm)
    if not rang:
        return None
    return f"While the new one was watched, an alarm rang: {', '.join(rang)}."


def watch_seconds() -> int:
    """For how long a new version is watched before the machines of the one before it go."""
    return round(_settings().watch_minutes * 60)


def _settings() -> environment.Hosting:
    return environment.read(environment.Hosting)
