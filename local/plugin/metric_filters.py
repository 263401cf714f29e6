"""Metrics out of log lines: CloudWatch Logs counts the lines that match a metric filter's pattern."""

import json

from local.plugin import filter_patterns, ministack_cloudwatch, ministack_log_metrics
from local.plugin.ministack_log_metrics import MetricFilter


def install() -> None:
    """Add it to the MiniStack of this process."""
    ministack_log_metrics.check_patterns(_fault)
    ministack_log_metrics.on_log_events(_count)


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
        matching = [line for line in lines if ministack_log_metrics.match_terms(pattern, line)]
    for line in matching:
        value = _value(metric_filter.value, line)
        if value is not None:
            ministack_cloudwatch.record(metric_filter.namespace, {metric_filter.name: value}, {})


def _value(written: str, line: str) -> float | None:
    """Return the number to publish; None if the line has none at that path."""
    if not written.startswith("$"):
        return float(written)
    try:
        return float(filter_patterns.value_at(json.loads(line), written))
    except (ValueError, TypeError):
        return None
