"""Lists what an account still has of one app, in every service: by the app's tag if possible, else by name.

The stacks are `<Title>-Storage`, `-Pipeline`, `-Chat` and `-Operations`; what they create at run time is
named after the app. Each listing queries the service itself, because the index of tags lags behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.aws.target import AwsTarget
from cli.removal import global_resources, regional_buckets
from cli.removal.global_resources import Entry
from contracts.resource_names import JOB_LOGS, RUN_ID, TAG, AppNames, is_job


@dataclass(frozen=True)
class FoundResource:
    """One resource of the app that the account has."""

    service: str
    name: str
    kept: str = ""
    """The reason why it is kept; empty if a deletion should have removed it."""

    def __str__(self) -> str:
        return f"{self.service}: {self.name}"


@dataclass(frozen=True)
class ResourceListing:
    """The resources found, and the services that could not be queried."""

    found: tuple[FoundResource, ...]
    unlisted: tuple[str, ...]
    """A sentence for each."""

    @property
    def left(self) -> tuple[FoundResource, ...]:
        """Return the resources that a deletion should have removed."""
        return tuple(one for one in self.found if not one.kept)

    @property
    def kept(self) -> tuple[FoundResource, ...]:
        """Return the resources that are kept."""
        return tuple(one for one in self.found if one.kept)


_STORIES = "your stories, models and records: `storyloom destroy --stories` deletes them"
_SHARED_LOG = "all jobs of the account share it; nothing of this app is in it"
_SHARED_RULE = "Step Functions made it for every state machine of the account; it costs nothing"
_ENDED = "SageMaker keeps ended transform jobs in its list; they cost nothing"


def list_everything(target: AwsTarget, names: AppNames) -> ResourceListing:
    """Query every service that the app uses."""
    found: list[FoundResource] = []
    unlisted: list[str] = []
    for service in _LISTINGS:
        try:
            found += list_service(service, target, names)
        except (ClientError, BotoCoreError) as error:
            unlisted.append(f"{service} could not be listed: {error}")
    return ResourceListing(tuple(found), tuple(unlisted))


def list_service(service: str, target: AwsTarget, names: AppNames) -> list[FoundResource]:
    """Query one service, by a name of `_LISTINGS`."""
    return [FoundResource(service, name, kept) for name, kept in _LISTINGS[service](target, names)]


_Listing = Callable[[AwsTarget, AppNames], Iterator[Entry]]


def _pages(target: AwsTarget, service: str, operation: str, key: str, **fields: Any) -> Iterator[Any]:
    client = target.client(service)
    if not client.can_paginate(operation):
        yield from getattr(client, operation)(**fields).get(key) or []
        return
    for page in client.get_paginator(operation).paginate(**fields):
        yield from page.get(key) or []


def _named(service: str, operation: str, key: str, member: str, **fields: Any) -> _Listing:
    """Make a listing of the resources whose name CloudFormation or the app itself gave."""

    def listing(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
        for entry in _pages(target, service, operation, key, **fields):
            name = str(entry[member] if member else entry)
            # Alarms are named after the endpoint, by us and by Application Auto Scaling.
            scaling_alarms = f"TargetTracking-endpoint/{names.name}/"
            if (
                names.belongs_to_stacks(name)
                or name in names.rollback_alarms
                or name.startswith(scaling_alarms)
            ):
                yield name, ""

    return listing


def _stacks(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for stack in _pages(target, "cloudformation", "describe_stacks", "Stacks"):
        if stack["StackStatus"] == "DELETE_COMPLETE":
            continue
        if stack["StackName"] == names.storage_stack:
            yield stack["StackName"], f"it holds {_STORIES}"
        elif stack["StackName"] in names.stacks:
            yield f"{stack['StackName']} ({stack['StackStatus']})", ""


def _buckets(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for name in regional_buckets.buckets_named(target, f"{names.name.lower()}-"):
        if names.belongs_to_stacks(name):
            yield name, _STORIES if name.startswith(f"{names.storage_stack.lower()}-") else ""


def _tables(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for name in _pages(target, "dynamodb", "list_tables", "TableNames"):
        if names.belongs_to_stacks(name):
            yield name, _STORIES


def _rules(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for rule in _pages(target, "events", "list_rules", "Rules"):
        if names.belongs_to_stacks(rule["Name"]):
            yield rule["Name"], ""
        elif rule["Name"].startswith("StepFunctionsGetEventsForSageMaker"):
            yield rule["Name"], _SHARED_RULE


def _topics(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for topic in _pages(target, "sns", "list_topics", "Topics"):
        if names.belongs_to_stacks(topic["TopicArn"].rpartition(":")[2]):
            yield topic["TopicArn"], ""


def _log_groups(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for group in _pages(target, "logs", "describe_log_groups", "logGroups"):
        name = group["logGroupName"]
        own_name = name.removeprefix("/aws/lambda/")
        if names.belongs_to_stacks(own_name) or name == names.endpoint_log:
            yield name, ""
        elif name in JOB_LOGS:
            own = list(_streams(target, name, names))
            yield from ((f"{name}: {stream}", "") for stream in own)
            if not own:
                yield name, _SHARED_LOG


def _streams(target: AwsTarget, group: str, names: AppNames) -> Iterator[str]:
    for prefix in (names.training_job(""), names.evaluation_job(""), names.transform_job("")):
        for stream in _pages(
            target,
            "logs",
            "describe_log_streams",
            "logStreams",
            logGroupName=group,
            logStreamNamePrefix=prefix,
        ):
            if re.match(rf"{re.escape(prefix)}{RUN_ID}\b", stream["logStreamName"]):
                yield str(stream["logStreamName"])


def _user_pools(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    client = target.client("cognito-idp")
    for pool in _pages(target, "cognito-idp", "list_user_pools", "UserPools", MaxResults=60):
        tags = client.describe_user_pool(UserPoolId=pool["Id"])["UserPool"].get("UserPoolTags", {})
        if tags.get(TAG) == names.name:
            yield pool["Id"], ""


def _apis(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for api in _pages(target, "apigateway", "get_rest_apis", "items"):
        if api.get("tags", {}).get(TAG) == names.name or api["name"] == f"{names.chat_stack} API":
            yield f"{api['name']} ({api['id']})", ""


def _machines(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for machine in _pages(target, "stepfunctions", "list_state_machines", "stateMachines"):
        if names.belongs_to_stacks(machine["name"]):
            yield machine["name"], ""


def _schedules(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for group in _pages(target, "scheduler", "list_schedule_groups", "ScheduleGroups"):
        if names.belongs_to_stacks(group["Name"]):
            yield group["Name"], ""


def _parameters(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for parameter in _pages(target, "ssm", "describe_parameters", "Parameters"):
        if parameter["Name"].startswith(f"/{names.name}/"):
            yield parameter["Name"], ""


def _scaling(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for scaled in _pages(
        target,
        "application-autoscaling",
        "describe_scalable_targets",
        "ScalableTargets",
        ServiceNamespace="sagemaker",
    ):
        if scaled["ResourceId"].startswith(f"endpoint/{names.name}/"):
            yield scaled["ResourceId"], ""


_IsNamed = Callable[[AppNames, str], bool]


def _has_the_apps_name(names: AppNames, name: str) -> bool:
    return name == names.name


def _is_named_by_version(names: AppNames, name: str) -> bool:
    return names.is_endpoint_config(name) or names.is_batch_model(name)


def _is_never(_names: AppNames, _name: str) -> bool:
    return False


def _is_job_of(job_name: Callable[[AppNames, str], str]) -> _IsNamed:
    return lambda names, name: is_job(name, [job_name(names, "")])


def _sagemaker(
    operation: str, key: str, member: str, is_own: _IsNamed, may_be_own: _IsNamed = _is_never
) -> _Listing:
    """Make a listing of SageMaker's resources with the app's name, or one that the functions derive from it.

    Args:
        operation: SageMaker's operation that lists them.
        key: the list in its response.
        member: the name in an entry, such as `ModelName`.
        is_own: tells by the whole name, since another app's name may begin with the same letters.
        may_be_own: tells which names several apps may give; the tag then identifies the app.
    """

    def listing(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
        for entry in _pages(target, "sagemaker", operation, key):
            name = str(entry[member])
            shared = may_be_own(names, name) and _is_tagged(target, names, entry, member)
            if is_own(names, name) or shared:
                yield from _entry_of(name, entry)

    return listing


def _is_tagged(target: AwsTarget, names: AppNames, entry: Any, member: str) -> bool:
    arn = entry[f"{member.removesuffix('Name')}Arn"]
    tags = target.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
    return {"Key": TAG, "Value": names.name} in tags


def _entry_of(name: str, entry: Any) -> Iterable[Entry]:
    status = entry.get("TransformJobStatus")
    ended = status is not None and status not in ("InProgress", "Stopping")
    yield name, _ENDED if ended else ""


def _packages(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    try:
        for package in _pages(
            target,
            "sagemaker",
            "list_model_packages",
            "ModelPackageSummaryList",
            ModelPackageGroupName=names.name,
        ):
            yield package["ModelPackageArn"].rpartition(":")[2], ""
    except ClientError as error:
        if "does not exist" not in str(error):
            raise


_LISTINGS: dict[str, _Listing] = {
    "CloudFormation stacks": _stacks,
    "S3 buckets": _buckets,
    "DynamoDB tables": _tables,
    "SageMaker endpoints": _sagemaker("list_endpoints", "Endpoints", "EndpointName", _has_the_apps_name),
    "SageMaker endpoint configurations": _sagemaker(
        "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", _is_named_by_version
    ),
    "SageMaker models": _sagemaker("list_models", "Models", "ModelName", _is_named_by_version),
    "SageMaker model packages": _packages,
    "SageMaker model package groups": _sagemaker(
        "list_model_package_groups",
        "ModelPackageGroupSummaryList",
        "ModelPackageGroupName",
        _has_the_apps_name,
    ),
    "SageMaker training jobs": _sagemaker(
        "list_training_jobs",
        "TrainingJobSummaries",
        "TrainingJobName",
        _is_job_of(AppNames.training_job),
        may_be_own=_is_job_of(AppNames.tuning_job),
    ),
    "SageMaker tuning jobs": _sagemaker(
        "list_hyper_parameter_tuning_jobs",
        "HyperParameterTuningJobSummaries",
        "HyperParameterTuningJobName",
        _is_never,
        may_be_own=_is_job_of(AppNames.tuning_job),
    ),
    "SageMaker processing jobs": _sagemaker(
        "list_processing_jobs",
        "ProcessingJobSummaries",
        "ProcessingJobName",
        _is_job_of(AppNames.evaluation_job),
    ),
    "SageMaker transform jobs": _sagemaker(
        "list_transform_jobs", "TransformJobSummaries", "TransformJobName", _is_job_of(AppNames.transform_job)
    ),
    "Application Auto Scaling targets": _scaling,
    "Lambda functions": _named("lambda", "list_functions", "Functions", "FunctionName"),
    "Lambda layers": _named("lambda", "list_layers", "Layers", "LayerName"),
    "Step Functions state machines": _machines,
    "EventBridge rules": _rules,
    "EventBridge Scheduler groups": _schedules,
    "CloudWatch log groups": _log_groups,
    "CloudWatch alarms": _named("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "CloudWatch dashboards": global_resources.dashboards,
    "API Gateway APIs": _apis,
    "CloudFront distributions": global_resources.distributions,
    "CloudFront policies": global_resources.page_policies,
    "CloudFront functions": global_resources.page_functions,
    "Cognito user pools": _user_pools,
    "SNS topics": _topics,
    "Systems Manager parameters": _parameters,
    "AWS Budgets": global_resources.budgets,
    "IAM roles": global_resources.roles,
}
