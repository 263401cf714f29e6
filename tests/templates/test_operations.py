"""What wakes a person: failures, a machine that is up for hours, money."""

from tests.templates.conftest import EMAIL, Synthesized, flat


def test_every_alarm_tells_somebody(synthesized: Synthesized) -> None:
    alarms = synthesized.operations.find_resources("AWS::CloudWatch::Alarm")
    assert len(alarms) == 4
    for name, alarm in alarms.items():
        assert [flat(action) for action in alarm["Properties"]["AlarmActions"]] == ["<TopicArn>"], name
        assert alarm["Properties"]["TreatMissingData"] == "notBreaching", name
    (policy,) = synthesized.pipeline.find_resources("AWS::SNS::TopicPolicy").values()
    allowed = [
        statement["Principal"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert {"Service": "cloudwatch.amazonaws.com"} in allowed


def test_an_endpoint_that_is_up_for_hours_is_told(synthesized: Synthesized) -> None:
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


def test_the_variant_is_the_one_that_the_functions_make() -> None:
    from shared import endpoint
    from stacks import hosting

    assert hosting.VARIANT == endpoint.VARIANT


def test_the_budget_mails_its_owner(synthesized: Synthesized) -> None:
    (budget,) = synthesized.operations.find_resources("AWS::Budgets::Budget").values()
    assert budget["Properties"]["Budget"]["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    notifications = budget["Properties"]["NotificationsWithSubscribers"]
    assert [n["Notification"]["Threshold"] for n in notifications] == [50, 100, 100]
    assert all(n["Subscribers"] == [{"Address": EMAIL, "SubscriptionType": "EMAIL"}] for n in notifications)


def test_a_budget_without_an_address_is_still_a_budget(other: Synthesized) -> None:
    (budget,) = other.operations.find_resources("AWS::Budgets::Budget").values()
    assert budget["Properties"]["Budget"]["BudgetLimit"]["Amount"] == 20
    assert "NotificationsWithSubscribers" not in budget["Properties"]


def test_the_dashboard_shows_runs_loss_endpoint_and_api(synthesized: Synthesized) -> None:
    (dashboard,) = synthesized.operations.find_resources("AWS::CloudWatch::Dashboard").values()
    body = flat(dashboard["Properties"]["DashboardBody"])
    for shown in ("ExecutionsFailed", "train:loss", "Invocations", "5XXError"):
        assert shown in body
