"""What MiniStack's CloudWatch Logs lack: metric filters that count. MiniStack keeps them and does nothing."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import cloudwatch_logs


@dataclass(frozen=True)
class MetricFilter:
    """One metric that a log group's lines are counted into."""

    pattern: str
    namespace: str
    name: str
    value: str
    """A number, or the path of one in the line."""


def on_log_events(count: Callable[[MetricFilter, list[str]], None]) -> None:
    """Call `count` with each filter of a log group and the lines that arrive there."""
    original = cloudwatch_logs._put_log_events

    def put(data: dict[str, Any]) -> Any:
        answer = original(data)
        if answer[0] < 400:
            lines = [str(event.get("message", "")) for event in data.get("logEvents", [])]
            for metric_filter in _filters_of(str(data.get("logGroupName"))):
                count(metric_filter, lines)
        return answer

    cloudwatch_logs._put_log_events = put


def check_patterns(fault: Callable[[str], str | None]) -> None:
    """Refuse to create a metric filter if `fault` finds one in its pattern."""
    original = cloudwatch_logs._put_metric_filter

    def put(data: dict[str, Any]) -> Any:
        wrong = fault(str(data.get("filterPattern", "")))
        if wrong:
            return error_response_json(
                "InvalidParameterException", f"Invalid metric filter pattern: {wrong}", 400
            )
        return original(data)

    cloudwatch_logs._put_metric_filter = put


def write_line(group: str, stream: str, line: dict[str, str], milliseconds: int) -> None:
    """Write a JSON line into a stream of a log group; both are made if need be."""
    where = {"logGroupName": group, "logStreamName": stream}
    cloudwatch_logs._create_log_stream(where)  # one that exists is left as it is
    event = {"timestamp": milliseconds, "message": json.dumps(line)}
    cloudwatch_logs._put_log_events({**where, "logEvents": [event]})


def match_terms(pattern: str, line: str) -> bool:
    """Tell whether a line has the terms of a pattern that is not for JSON, as MiniStack understands them."""
    return bool(cloudwatch_logs._compile_filter_pattern(pattern)(line))


def _filters_of(group: str) -> Iterator[MetricFilter]:
    for kept in list(cloudwatch_logs._metric_filters.values()):
        if kept["logGroupName"] == group:
            for made in kept["metricTransformations"]:
                yield MetricFilter(
                    kept["filterPattern"],
                    made["metricNamespace"],
                    made["metricName"],
                    str(made["metricValue"]),
                )
