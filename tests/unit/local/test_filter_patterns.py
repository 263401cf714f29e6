"""CloudWatch Logs' patterns for JSON lines."""

import json

import pytest

from local.aws.services.filter_patterns import InvalidPatternError, compile_pattern
from stacks.chat.rest_api import FAULTS_PATTERN

_LINE = json.dumps({"status": "503", "size": 12, "error": {"codes": ["A1", "B2"]}, "gone": None})


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.status = "503" }', True),
        ('{ $.status = "5*" }', True),
        ("{ $.status = 503 }", False),  # text is no number
        ('{ $.status != "503" }', False),
        ("{ $.size = 12 }", True),
        ("{ $.size >= 12.5 }", False),
        ("{ $.size < 13 }", True),
        ("{ $.error.codes[1] = B2 }", True),
        ("{ $.error.codes[2] = B2 }", False),
        ('{ $.absent != "x" }', False),
        ('{ $.status = "4*" || $.size = 12 && $.error.codes[0] = "A*" }', True),
        ('{ ($.status = "4*" || $.size = 12) && $.status = "2*" }', False),
    ],
)
def test_a_line_matches_or_does_not(pattern: str, expected: bool) -> None:
    assert compile_pattern(pattern)(_LINE) is expected


def test_what_is_not_json_matches_nothing() -> None:
    assert not compile_pattern('{ $.status = "5*" }')("START RequestId: 1")


@pytest.mark.parametrize(
    "pattern",
    ["{ $.status }", '{ $.status = "5*"', "{ $.status > many }", '{ $.status = "5" } more', "{ ~ }"],
)
def test_what_cloudwatch_would_refuse_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPatternError):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("status", "function_status", "is_fault"),
    [
        ("200", "200", False),
        ("429", "429", False),
        ("503", "503", False),  # asleep, waking, or no capacity
        ("502", "502", False),  # the model broke off
        ("500", "500", True),  # unforeseen
        ("502", "-", True),  # the function crashed
        ("504", "-", True),  # it took too long
        ("500", "-", True),  # the authorizer failed
    ],
)
def test_only_an_unexpected_error_is_a_fault(status: str, function_status: str, is_fault: bool) -> None:
    line = json.dumps({"status": status, "functionStatus": function_status})
    assert compile_pattern(FAULTS_PATTERN)(line) is is_fault
