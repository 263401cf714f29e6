"""What notifies a person: failures, an endpoint that exists for hours, costs."""

import json
import re

from stacks.chat.rest_api import FAULTS_METRIC, FAULTS_PATTERN
from tests.templates.conftest import EMAIL, Synthesized, flat


def test_every_alarm_notifies_somebody(synthesized: Synthesized) -> None:
    alarms = dict(synthesized.resources("AWS::CloudWatch::Alarm"))
    assert len(alarms) == 6
    for name, alarm in alarms.items():
        (told,) = [flat(action) for action in alarm["Properties"]["AlarmActions"]]
        assert told == "<TopicArn>" or told.startswith("<Messages"), name
        assert alarm["Properties"]["TreatMissingData"] == "notBreaching", name
    (policy,) = synthesized.pipeline.find_resources("AWS::SNS::TopicPolicy").values()
    allowed = [
        statement["Principal"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert {"Service": "cloudwatch.amazonaws.com"} in allowed


def test_an_endpoint_in_service_for_hours_sets_off_an_alarm(synthesized: Synthesized) -> None:
    synthesized.operations.has_resource_properties(
        "AWS::CloudWatch::Alarm",
        {
            "Namespace": "/aws/sagemaker/Endpoints",
            "Statistic": "SampleCount",
            "Period": 3600,
            "EvaluationPeriods": 6,
            "Dimensions": [
                {"Name": "EndpointName", "Value": "storyloom"},
                {"Name": "VariantName", "Value": "main"},
            ],
        },
    )


def test_errors_and_slow_answers_of_the_endpoint_roll_a_deployment_back(synthesized: Synthesized) -> None:
    alarms = {
        alarm["Properties"]["AlarmName"]: alarm["Properties"]
        for alarm in synthesized.pipeline.find_resources("AWS::CloudWatch::Alarm").values()
    }
    errors, latency = alarms["storyloom-endpoint-errors"], alarms["storyloom-endpoint-latency"]
    assert (errors["MetricName"], errors["Statistic"]) == ("Invocation5XXErrors", "Sum")
    assert (latency["MetricName"], latency["ExtendedStatistic"]) == ("FirstChunkModelLatency", "p90")
    assert latency["Threshold"] == 20 * 1_000_000, "microseconds"
    assert all(alarm["Period"] == 60 for alarm in alarms.values()), "they ring within the watch"
    functions = synthesized.pipeline.find_resources("AWS::Lambda::Function").values()
    told = [f["Properties"]["Environment"]["Variables"].get("STORYLOOM_ROLLBACK_ALARMS") for f in functions]
    assert {tuple(json.loads(names)) for names in told if names} == {tuple(alarms)}


def test_the_budget_mails_its_owner(synthesized: Synthesized) -> None:
    (budget,) = synthesized.operations.find_resources("AWS::Budgets::Budget").values()
    assert budget["Properties"]["Budget"]["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    notifications = budget["Properties"]["NotificationsWithSubscribers"]
    assert [n["Notification"]["Threshold"] for n in notifications] == [50, 100, 100]
    assert all(n["Subscribers"] == [{"Address": EMAIL, "SubscriptionType": "EMAIL"}] for n in notifications)


def test_a_budget_needs_no_address(other: Synthesized) -> None:
    (budget,) = other.operations.find_resources("AWS::Budgets::Budget").values()
    assert budget["Properties"]["Budget"]["BudgetLimit"]["Amount"] == 20
    assert "NotificationsWithSubscribers" not in budget["Properties"]


def test_the_dashboard_shows_runs_loss_endpoint_and_api(synthesized: Synthesized) -> None:
    (dashboard,) = synthesized.operations.find_resources("AWS::CloudWatch::Dashboard").values()
    body = flat(dashboard["Properties"]["DashboardBody"])
    for shown in ("ExecutionsFailed", "train:loss", "Invocations", "5XXError"):
        assert shown in body


def test_the_api_alarm_fires_for_faults_and_not_for_a_waking_model(synthesized: Synthesized) -> None:
    (log_filter,) = synthesized.chat.find_resources("AWS::Logs::MetricFilter").values()
    assert log_filter["Properties"]["FilterPattern"] == FAULTS_PATTERN
    (counted,) = log_filter["Properties"]["MetricTransformations"]
    assert (counted["MetricNamespace"], counted["MetricName"]) == ("Storyloom", FAULTS_METRIC)
    assert "DefaultValue" not in counted, "a metric is paid for in each hour that it has a value"
    alarms = synthesized.operations.find_resources("AWS::CloudWatch::Alarm").values()
    (alarm,) = [alarm["Properties"] for alarm in alarms if alarm["Properties"]["MetricName"] == FAULTS_METRIC]
    assert (alarm["Namespace"], alarm["Threshold"]) == ("Storyloom", 1)
    watched = [alarm["Properties"]["MetricName"] for alarm in alarms]
    assert "5XXError" not in watched, "API Gateway counts the 503 of a model that is being woken"
    (stage,) = synthesized.chat.find_resources("AWS::ApiGateway::Stage").values()
    written = json.loads(stage["Properties"]["AccessLogSetting"]["Format"])
    assert set(re.findall(r"\$\.(\w+)", FAULTS_PATTERN)) <= set(written)
