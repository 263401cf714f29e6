"""The Operations stack: dashboard, alarms and budget."""

from aws_cdk import Aws, Duration, Environment, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from contracts.resource_names import ENDPOINT_LOGS, TRAINING_LOG, VARIANT
from contracts.settings import Settings
from stacks.chat.rest_api import FAULTS_METRIC, STAGE
from stacks.chat.stack import ChatStack
from stacks.permissions import arn
from stacks.pipeline.stack import PipelineStack
from stacks.references import publish, published

_ENDPOINT_HOURS = 6
"""An unused endpoint is deleted; one that exists this long is used a lot, or was forgotten."""


class OperationsStack(Stack):
    """Dashboard, alarms and budget."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        pipeline: PipelineStack,
        chat: ChatStack,
        env: Environment,
    ) -> None:
        """Create the stack."""
        super().__init__(scope, id_, description="Storyloom: dashboard, alarms and budget", env=env)
        topic = sns.Topic.from_topic_arn(self, "Messages", published(pipeline, self, "TopicArn"))
        metrics = _Metrics(
            settings, pipeline.import_machine_into(self).arn, api_name=published(chat, self, "ApiName")
        )
        alarms = _alarms(self, metrics, topic)
        dashboard = _dashboard(self, metrics, [*alarms, *_rollback_alarms(self, settings)])
        _budget(self, settings)
        url = f"https://{Aws.REGION}.console.aws.amazon.com/cloudwatch/home#dashboards:name={dashboard.dashboard_name}"
        publish(self, "DashboardUrl", url, "Dashboard of runs, endpoint and API")


class _Metrics:
    """The metrics of the dashboard and the alarms."""

    def __init__(self, settings: Settings, machine_arn: str, api_name: str) -> None:
        self._machine = {"StateMachineArn": machine_arn}
        self._namespace = settings.names.title
        self._api = {"ApiName": api_name, "Stage": STAGE}
        self._endpoint = {"EndpointName": settings.name, "VariantName": VARIANT}

    def runs(self, outcome: str) -> cloudwatch.Metric:
        """Return the number of executions; `outcome` is `Succeeded`, `Failed`, `TimedOut` or `Aborted`."""
        return _metric("AWS/States", f"Executions{outcome}", self._machine, "Sum", Duration.minutes(5))

    def api(self, name: str, statistic: str) -> cloudwatch.Metric:
        """Return a metric of the API, such as `5XXError`."""
        return _metric("AWS/ApiGateway", name, self._api, statistic, Duration.minutes(5))

    def api_faults(self) -> cloudwatch.Metric:
        """Return the number of faults of the API; a 503 while the endpoint starts is not one."""
        return _metric(self._namespace, FAULTS_METRIC, {}, "Sum", Duration.minutes(5))

    def endpoint(self, name: str, statistic: str, period: Duration) -> cloudwatch.Metric:
        """Return a metric of the endpoint's requests, such as `Invocations`."""
        return _metric("AWS/SageMaker", name, self._endpoint, statistic, period)

    def endpoint_instance(self, name: str, statistic: str, period: Duration) -> cloudwatch.Metric:
        """Return a metric of the endpoint's instance, which has values only while it is billed."""
        return _metric(ENDPOINT_LOGS, name, self._endpoint, statistic, period)


def _metric(
    namespace: str, name: str, dimensions: dict[str, str], statistic: str, period: Duration
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace, metric_name=name, dimensions_map=dimensions, statistic=statistic, period=period
    )


def _alarms(scope: Construct, metrics: _Metrics, topic: sns.ITopic) -> list[cloudwatch.IAlarm]:
    alarms = [
        _alarm(scope, "RunFailed", metrics.runs("Failed"), "A run failed. The page Runs has the reason"),
        _alarm(scope, "RunTimedOut", metrics.runs("TimedOut"), "A run reached its time limit"),
        _alarm(
            scope,
            "ApiErrors",
            metrics.api_faults(),
            "The API failed unexpectedly. The log of the function chat_api has the reason",
        ),
        _alarm(
            scope,
            "EndpointAwakeForHours",
            metrics.endpoint_instance("CPUUtilization", "SampleCount", Duration.hours(1)),
            f"The endpoint has been in service, and billed, for {_ENDPOINT_HOURS} hours. "
            "Put it to sleep with: storyloom sleep",
            periods=_ENDPOINT_HOURS,
        ),
    ]
    for alarm in alarms:
        alarm.add_alarm_action(actions.SnsAction(topic))
    return list(alarms)


def _rollback_alarms(scope: Construct, settings: Settings) -> list[cloudwatch.IAlarm]:
    """Return the Pipeline stack's alarms, for the dashboard."""
    return [
        cloudwatch.Alarm.from_alarm_arn(scope, name, arn("cloudwatch", f"alarm:{name}"))
        for name in settings.names.rollback_alarms
    ]


def _alarm(
    scope: Construct,
    id_: str,
    metric: cloudwatch.Metric,
    description: str,
    *,
    periods: int = 1,
) -> cloudwatch.Alarm:
    return cloudwatch.Alarm(
        scope,
        id_,
        metric=metric,
        alarm_description=f"Storyloom: {description}.",
        threshold=1,
        evaluation_periods=periods,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )


def _dashboard(scope: Construct, metrics: _Metrics, alarms: list[cloudwatch.IAlarm]) -> cloudwatch.Dashboard:
    hour = Duration.hours(1)
    loss = f"SEARCH('{{{TRAINING_LOG},Host}} MetricName=\"%s\"', 'Average', 60)"
    return cloudwatch.Dashboard(
        scope,
        "Dashboard",
        default_interval=Duration.days(7),
        widgets=[
            [
                cloudwatch.AlarmStatusWidget(title="Alarms", alarms=alarms, width=24, height=3),
            ],
            [
                cloudwatch.GraphWidget(
                    title="Runs",
                    left=[
                        metrics.runs(outcome) for outcome in ("Succeeded", "Failed", "TimedOut", "Aborted")
                    ],
                    width=12,
                ),
                cloudwatch.GraphWidget(
                    title="Loss of the training jobs",
                    left=[
                        cloudwatch.MathExpression(expression=loss % name, label="", using_metrics={})
                        for name in ("train:loss", "validation:loss")
                    ],
                    width=12,
                ),
            ],
            [
                cloudwatch.GraphWidget(
                    title="Requests to the model",
                    left=[metrics.endpoint("Invocations", "Sum", hour)],
                    right=[metrics.endpoint("FirstChunkModelLatency", "p90", hour)],
                    width=12,
                ),
                cloudwatch.GraphWidget(
                    title="Hours with an endpoint (billed only then)",
                    left=[metrics.endpoint_instance("CPUUtilization", "SampleCount", hour)],
                    right=[metrics.endpoint_instance("GPUMemoryUtilization", "Average", hour)],
                    width=12,
                ),
            ],
            [
                cloudwatch.GraphWidget(
                    title="API",
                    left=[
                        *(metrics.api(name, "Sum") for name in ("Count", "4XXError", "5XXError")),
                        metrics.api_faults(),
                    ],
                    right=[metrics.api("Latency", "p90")],
                    width=24,
                ),
            ],
        ],
    )


def _budget(scope: Construct, settings: Settings) -> None:
    """Create a budget for the whole account, because forgotten instances of other apps cost as much."""
    person = budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=settings.admin_email)
    budgets.CfnBudget(
        scope,
        "Budget",
        budget=budgets.CfnBudget.BudgetDataProperty(
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=budgets.CfnBudget.SpendProperty(amount=settings.monthly_budget_usd, unit="USD"),
        ),
        notifications_with_subscribers=[
            budgets.CfnBudget.NotificationWithSubscribersProperty(
                notification=budgets.CfnBudget.NotificationProperty(
                    comparison_operator="GREATER_THAN",
                    notification_type=kind,
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[person],
            )
            for kind, percent in (("ACTUAL", 50), ("ACTUAL", 100), ("FORECASTED", 100))
        ]
        if settings.admin_email
        else None,
    )
