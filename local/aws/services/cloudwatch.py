"""CloudWatch's metrics and alarms, with four things that MiniStack lacks.

MiniStack evaluates an alarm over every resource's metric of its name and ignores the dimensions, an alarm
in state ALARM stays so when no more data come, whatever TreatMissingData is, an alarm's history does not
list its actions, and IAM does not get the namespace of PutMetricData.
"""

import io
import json
import time
from collections.abc import Iterable
from typing import Any

from botocore.parsers import BaseCBORParser
from ministack.core import iam_actions
from ministack.services import cloudwatch

_COMPARE = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


def install() -> None:
    """Evaluate alarms by their dimensions, record their actions, and give IAM the namespace of metrics."""
    cloudwatch._evaluate_alarm = _evaluate
    dispatch = cloudwatch._dispatch_alarm_actions

    def dispatch_and_record(alarm: dict[str, Any], old: str, new: str, reason: str) -> None:
        dispatch(alarm, old, new, reason)
        _record_actions(alarm, new)

    cloudwatch._dispatch_alarm_actions = dispatch_and_record
    _supply_metric_namespace()


def record_metrics(namespace: str, values: dict[str, float], dimensions: dict[str, str]) -> None:
    """Publish metrics of an AWS service, by name, and evaluate all alarms."""
    for name, value in values.items():
        cloudwatch.record_metric(namespace, name, value, dimensions=dimensions)
    cloudwatch._evaluate_all_alarms()


def missing_alarms(names: Iterable[str]) -> list[str]:
    """Return the names that no alarm has."""
    return [name for name in names if name not in cloudwatch._alarms]


def alarms_in_alarm(names: Iterable[str]) -> list[str]:
    """Return the names of the alarms that are in state ALARM now."""
    alarms = [cloudwatch._alarms[name] for name in names if name in cloudwatch._alarms]
    for alarm in alarms:
        _evaluate(alarm)
    return [str(alarm["AlarmName"]) for alarm in alarms if alarm["StateValue"] == "ALARM"]


def _record_actions(alarm: dict[str, Any], state: str) -> None:
    """Note each action of a state in the alarm's history, as CloudWatch does when it has executed it."""
    if not alarm.get("ActionsEnabled", True):
        return
    kind = {"ALARM": "AlarmActions", "OK": "OKActions"}.get(state, "InsufficientDataActions")
    for action in alarm.get(kind) or []:
        cloudwatch._history_entries().append(
            {
                "AlarmName": alarm["AlarmName"],
                "AlarmType": "MetricAlarm",
                "Timestamp": cloudwatch._ts_iso(time.time()),
                "HistoryItemType": "Action",
                "HistorySummary": f"Successfully executed action {action}",
                "HistoryData": json.dumps({"actionState": "Succeeded", "notificationResource": action}),
            }
        )


def _evaluate(alarm: dict[str, Any]) -> None:
    """Set the alarm's state from the last periods of its metric."""
    compare = _COMPARE.get(alarm.get("ComparisonOperator", ""))
    if not alarm.get("MetricName") or compare is None:
        return
    period, periods = alarm.get("Period", 60), alarm.get("EvaluationPeriods", 1)
    values = _values(alarm, period, periods)
    if not any(value is not None for value in values) and not _treats_missing(alarm):
        return
    missing = alarm.get("TreatMissingData") == "breaching"
    breaching = [missing if value is None else compare(value, alarm["Threshold"]) for value in values]
    enough = sum(breaching) >= (alarm.get("DatapointsToAlarm") or periods)
    _become(
        alarm, "ALARM" if enough else "OK", f"{sum(breaching)} of {periods} periods breached the threshold"
    )


def _treats_missing(alarm: dict[str, Any]) -> bool:
    return alarm.get("TreatMissingData") in ("breaching", "notBreaching")


def _values(alarm: dict[str, Any], period: float, periods: int) -> list[float | None]:
    """Return the statistic of each of the last periods; None for a period without data."""
    dimensions = {one["Name"]: one["Value"] for one in alarm.get("Dimensions") or []}
    key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(dimensions))
    points = cloudwatch._metrics.get(key) or []
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    now = time.time()
    values = []
    for nth in range(periods):
        end = now - nth * period
        within = [point for point in points if end - period < point["Timestamp"] <= end]
        stats = cloudwatch._calc_stats(within)
        values.append(cloudwatch._stat_value(stats, statistic, within) if stats else None)
    return values


def _become(alarm: dict[str, Any], state: str, why: str) -> None:
    before = alarm["StateValue"]
    if state == before:
        return
    reason = f"Threshold Crossed: {why} ({alarm['Threshold']:g})."
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _supply_metric_namespace() -> None:
    """Give IAM the condition key ``cloudwatch:namespace`` of PutMetricData, which MiniStack leaves out."""
    known = iam_actions.request_tag_context

    def context(service: str, action: str, body: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = known(service, action, body, parameters)
        if action == "cloudwatch:PutMetricData" and (namespace := _namespace(body, parameters)):
            found = {**found, "cloudwatch:namespace": namespace}
        return found

    iam_actions.request_tag_context = context


def _namespace(body: bytes, parameters: dict[str, Any]) -> str:
    """Read the request's Namespace, in any of CloudWatch's three protocols."""
    if body[:1] == b"{":
        return str(json.loads(body).get("Namespace", ""))
    if given := parameters.get("Namespace"):
        return str(given[0] if isinstance(given, list) else given)
    decoded = BaseCBORParser().parse_data_item(io.BufferedReader(io.BytesIO(body)))
    return str(decoded.get("Namespace", "")) if isinstance(decoded, dict) else ""
