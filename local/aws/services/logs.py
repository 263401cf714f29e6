"""CloudWatch Logs: metric filters that count lines, and permissions on streams.

MiniStack stores metric filters and does nothing with them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import error_response_json
from ministack.services import cloudwatch_logs

from local.aws.services import cloudwatch, filter_patterns


@dataclass(frozen=True)
class MetricFilter:
    """One metric that a log group's lines are counted into."""

    pattern: str
    namespace: str
    name: str
    value: str
    """A number, or the path of one in the line."""


def install() -> None:
    """Change CloudWatch Logs in this process's MiniStack."""
    name_deleted_streams()
    _check_patterns()
    _count_lines()


def _count_lines() -> None:
    """Count the lines that arrive in a log group with each of its metric filters."""
    original = cloudwatch_logs._put_log_events

    def put(data: dict[str, Any]) -> Any:
        answer = original(data)
        if answer[0] < 400:
            lines = [str(event.get("message", "")) for event in data.get("logEvents", [])]
            for metric_filter in _filters_of(str(data.get("logGroupName"))):
                _count(metric_filter, lines)
        return answer

    cloudwatch_logs._put_log_events = put


def _check_patterns() -> None:
    """Refuse to create a metric filter with a malformed pattern."""
    original = cloudwatch_logs._put_metric_filter

    def put(data: dict[str, Any]) -> Any:
        fault = _fault(str(data.get("filterPattern", "")))
        if fault:
            return error_response_json(
                "InvalidParameterException", f"Invalid metric filter pattern: {fault}", 400
            )
        return original(data)

    cloudwatch_logs._put_metric_filter = put


def _is_json(pattern: str) -> bool:
    return pattern.lstrip().startswith("{")


def _fault(pattern: str) -> str | None:
    if _is_json(pattern):
        try:
            filter_patterns.compile_pattern(pattern)
        except filter_patterns.InvalidPatternError as error:
            return str(error)
    return None


def _count(metric_filter: MetricFilter, lines: list[str]) -> None:
    pattern = metric_filter.pattern
    if _is_json(pattern):
        matches = filter_patterns.compile_pattern(pattern)
        matching = [line for line in lines if matches(line)]
    else:
        matching = [line for line in lines if _match_terms(pattern, line)]
    for line in matching:
        value = _value(metric_filter.value, line)
        if value is not None:
            cloudwatch.record_metrics(metric_filter.namespace, {metric_filter.name: value}, {})


def _value(written: str, line: str) -> float | None:
    """Return the number to publish; None if the line has none at that path."""
    if not written.startswith("$"):
        return float(written)
    try:
        return float(filter_patterns.value_at(json.loads(line), written))
    except (ValueError, TypeError):
        return None


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


def _match_terms(pattern: str, line: str) -> bool:
    """Tell whether a line has the terms of a pattern that is not for JSON, as MiniStack understands them."""
    return bool(cloudwatch_logs._compile_filter_pattern(pattern)(line))


def write_line(group: str, stream: str, line: dict[str, str], milliseconds: int) -> None:
    """Write a JSON line into a stream of a log group; both are made if need be."""
    names = {"logGroupName": group, "logStreamName": stream}
    cloudwatch_logs._create_log_stream(names)  # one that exists is left as it is
    event = {"timestamp": milliseconds, "message": json.dumps(line)}
    cloudwatch_logs._put_log_events({**names, "logEvents": [event]})


def name_deleted_streams() -> None:
    """Authorize DeleteLogStream on the stream's ARN, as AWS does; MiniStack names its group."""
    known = iam_actions.extract_resource_arn

    def resource_arn(service: str, method: str, path: str, *rest: Any) -> str:
        arn = str(known(service, method, path, *rest))
        headers, body, *_ = rest
        if service == "logs" and headers.get("x-amz-target", "").endswith(".DeleteLogStream"):
            return f"{arn}:log-stream:{json.loads(body).get('logStreamName', '')}"
        return arn

    iam_actions.extract_resource_arn = resource_arn


def ensure_log_group(name: str) -> None:
    """Make a log group that an AWS service makes by itself; one that exists stays as it is."""
    cloudwatch_logs._create_log_group({"logGroupName": name})
