"""What API Gateway counts of each request, and which of it is a fault."""

import json
import time
from typing import Any

import pytest

from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud


def _ringing(web: WebApp, output: str) -> bool:
    described = web.client("cloudwatch").describe_alarms(AlarmNames=[web.outputs[output]])
    return bool(described["MetricAlarms"][0]["StateValue"] == "ALARM")


def _count(web: WebApp, namespace: str, metric: str, **dimensions: str) -> float:
    now = time.time()
    found = web.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - 3600,
        EndTime=now + 60,
        Period=7200,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in found["Datapoints"]))


def _server_errors(web: WebApp) -> float:
    name = web.client("apigateway").get_rest_apis()["items"][0]["name"]
    return _count(web, "AWS/ApiGateway", "5XXError", ApiName=name, Stage="live")


def _faults(web: WebApp) -> float:
    return _count(web, "LocalWeb", "Faults")


def _logged(web: WebApp) -> list[dict[str, Any]]:
    events = web.client("logs").filter_log_events(logGroupName=web.outputs["AccessLogName"])["events"]
    return [json.loads(event["message"]) for event in events]


def _ask(web: WebApp, status: int) -> int:
    with web.http(web.gateway, headers=web.signed_in) as client:
        return client.get(f"/api/status/{status}").status_code


@pytest.mark.aws_fact
def test_ten_wakes_are_no_fault_and_one_failure_is(web: WebApp) -> None:
    errors, faults = _server_errors(web), _faults(web)
    for _ in range(10):
        assert _ask(web, 503) == 503
    assert _ask(web, 502) == 502, "the function says itself that the model broke off"
    assert _server_errors(web) == errors + 11, "API Gateway counts them all the same"
    assert _ringing(web, "AnyErrorAlarm")
    # Other tests fail on purpose, and an alarm goes on ringing, so what it watches says more than its state.
    assert _faults(web) == faults

    assert _ask(web, 500) == 500
    assert _faults(web) == faults + 1
    assert _ringing(web, "FaultAlarm")


@pytest.mark.aws_fact
def test_the_access_log_tells_a_crashed_function_from_one_that_answers_502(web: WebApp) -> None:
    known = len(_logged(web))
    assert _ask(web, 502) == 502
    assert _ask(web, 0) == 502, "the process died"
    answered, crashed = (line for line in _logged(web)[known:] if line["httpMethod"] == "GET")
    assert (answered["status"], answered["functionStatus"]) == ("502", "502")
    assert (crashed["status"], crashed["functionStatus"]) == ("502", "-")
