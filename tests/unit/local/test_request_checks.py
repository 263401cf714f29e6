"""Requests to other services than SageMaker are held to their models, however they travel."""

import json
from typing import Any

import pytest

from local.aws.service_handlers import HttpRequest
from local.aws.services.request_checks import SERVICES, _Check

CHECKS = {checked.service: _Check(checked) for checked in SERVICES}


def _problem(service: str, method: str, path: str, body: dict[str, Any], target: str = "") -> str:
    headers = {"x-amz-target": f"any.{target}"} if target else {}
    answer = CHECKS[service](HttpRequest(method, path, headers, json.dumps(body).encode(), {}))
    return "" if answer is None else json.loads(answer[2])["message"]


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("service", "target", "request_", "problem"),
    [
        ("states", "StartExecution", {"stateMachineArn": "a", "name": ""}, "greater than or equal to 1"),
        ("events", "PutRule", {"Name": "two words"}, "Member must satisfy regular expression pattern"),
        ("logs", "PutRetentionPolicy", {"logGroupName": "a b", "retentionInDays": 1}, "regular expression"),
        ("cognito-idp", "ListUsers", {"UserPoolId": "us-east-1_abc", "Limit": 61}, "equal to 60"),
        ("dynamodb", "GetItem", {"TableName": "table"}, "'key' failed to satisfy constraint"),
    ],
)
def test_enumerations_patterns_and_lengths_are_checked_by_the_service(
    service: str, target: str, request_: dict[str, Any], problem: str
) -> None:
    assert problem in _problem(service, "POST", "/", request_, target)


def test_a_rest_request_is_gathered_from_its_path_and_its_body() -> None:
    schedule = {"FlexibleTimeWindow": {"Mode": "SOMETIMES"}, "ScheduleExpression": "rate(5 minutes)"}
    problem = _problem("scheduler", "POST", "/schedules/a%20b", schedule)
    assert "'a b' at 'name'" in problem
    assert "enum value set: [OFF, FLEXIBLE]" in problem
    assert "'target'" in problem
    # What a function is called with is nobody's business but its own.
    assert _problem("lambda", "POST", "/2015-03-31/functions/f/invocations", {"Payload": 5}) == ""


def test_two_operations_of_one_path_are_told_apart_by_their_query() -> None:
    """GetLayerVersionByArn is `GET /layers?find=LayerVersion`, ListLayers is the path alone."""
    assert _problem("lambda", "GET", "/2018-10-31/layers", {}) == ""


def test_what_is_not_in_the_model_is_let_through() -> None:
    assert _problem("events", "POST", "/", {"Name": "rule", "Newer": 1}, "PutRule") == ""
    assert _problem("lambda", "GET", "/2099-01-01/unknown", {}) == ""
