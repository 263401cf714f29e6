"""Alarms that roll a deployment back: SageMaker watches them while it keeps the old instances.

Their names are fixed, because functions of two stacks pass them to SageMaker. They belong to the Pipeline
stack, which is deployed before anything that uses the names.
"""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from contracts.resource_names import VARIANT
from contracts.settings import Settings
from stacks.permissions import allow, arn

_ERRORS = 3
_FIRST_TOKEN_SECONDS = 20


def allow_describing_alarms(role: iam.Role) -> None:
    """Allow a role to describe all alarms: AWS does not restrict this action to some of them."""
    allow(
        role,
        ["cloudwatch:DescribeAlarms"],
        [arn("cloudwatch", "alarm:*")],
        wildcard_because="AWS checks this action on alarm:*, whichever alarms are named; it only reads",
    )


def rollback_alarms(scope: Construct, settings: Settings, topic: sns.ITopic) -> None:
    """Create the alarms, which also notify the owner: they matter between deployments too."""
    errors, latency = settings.names.rollback_alarms
    _alarm(
        scope,
        "EndpointErrors",
        name=errors,
        metric=_metric(settings, "Invocation5XXErrors", "Sum"),
        threshold=_ERRORS,
        minutes=1,
        meaning=f"The model failed to answer {_ERRORS} times within a minute",
        topic=topic,
    )
    _alarm(
        scope,
        "EndpointLatency",
        name=latency,
        metric=_metric(settings, "FirstChunkModelLatency", "p90"),
        threshold=_FIRST_TOKEN_SECONDS * 1_000_000,  # the metric's unit is a microsecond
        minutes=2,
        meaning=f"For two minutes, one answer in ten took more than {_FIRST_TOKEN_SECONDS} seconds to start",
        topic=topic,
    )


def _metric(settings: Settings, name: str, statistic: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/SageMaker",
        metric_name=name,
        dimensions_map={"EndpointName": settings.name, "VariantName": VARIANT},
        statistic=statistic,
        period=Duration.minutes(1),
    )


def _alarm(
    scope: Construct,
    id_: str,
    *,
    name: str,
    metric: cloudwatch.Metric,
    threshold: float,
    minutes: int,
    meaning: str,
    topic: sns.ITopic,
) -> None:
    alarm = cloudwatch.Alarm(
        scope,
        id_,
        alarm_name=name,
        metric=metric,
        alarm_description=f"Storyloom: {meaning}. A deployment in progress is rolled back.",
        threshold=threshold,
        evaluation_periods=minutes,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        # The endpoint is asleep, or gets no requests.
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
