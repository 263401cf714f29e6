"""Lists what an account still has of one app, in every service: by the app's tag if it has one, else by name.

Storyloom's stacks are `<Title>-Storage`, `-Pipeline`, `-Chat` and `-Operations`; what is made at run time is
named after the app. Each listing asks the service itself, because the index of tags lags behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.aws_target import AwsTarget

TAG = "storyloom:app"


@dataclass(frozen=True)
class AppNames:
    """How one app names what it makes."""

    name: str

    @property
    def title(self) -> str:
        return self.name[0].upper() + self.name[1:]

    @property
    def stacks(self) -> tuple[str, ...]:
        """The stacks that a deletion deletes, in its order."""
        return tuple(f"{self.title}-{part}" for part in ("Operations", "Chat", "Pipeline"))

    @property
    def storage_stack(self) -> str:
        return f"{self.title}-Storage"

    def is_stacks(self, physical_name: str) -> bool:
        """Whether CloudFormation gave this name to a resource of one of the stacks."""
        lowered = physical_name.lower()
        parts = (*self.stacks, self.storage_stack)
        return any(lowered == part.lower() or lowered.startswith(f"{part.lower()}-") for part in parts)


@dataclass(frozen=True)
class Found:
    """One thing of the app that the account has."""

    service: str
    name: str
    kept: str = ""
    """Why it is there on purpose; empty for what a deletion should have removed."""

    def __str__(self) -> str:
        return f"{self.service}: {self.name}"


@dataclass(frozen=True)
class Listing:
    """What was found, and which services could not be asked."""

    found: tuple[Found, ...]
    unlisted: tuple[str, ...]
    """A sentence for each."""

    @property
    def left(self) -> tuple[Found, ...]:
        """What should not be there."""
        return tuple(one for one in self.found if not one.kept)

    @property
    def kept(self) -> tuple[Found, ...]:
        return tuple(one for one in self.found if one.kept)


_STORIES = "your stories, models and records: `storyloom destroy --stories` deletes them"
_SHARED_LOG = "all jobs of the account share it; nothing of this app is in it"
_SHARED_RULE = "Step Functions made it for every state machine of the account; it costs nothing"
_ENDED = "SageMaker keeps ended transform jobs in its list; they cost nothing"
_GATEWAY_ROLE = "API Gateway writes the logs of all APIs of the account with it; it costs nothing"


def list_everything(target: AwsTarget, names: AppNames) -> Listing:
    """Ask every service that the app uses."""
    found: list[Found] = []
    unlisted: list[str] = []
    for service in _LISTINGS:
        try:
            found += list_service(service, target, names)
        except (ClientError, BotoCoreError) as error:
            unlisted.append(f"{service} could not be listed: {error}")
    return Listing(tuple(found), tuple(unlisted))


def list_service(service: str, target: AwsTarget, names: AppNames) -> list[Found]:
    """Ask one service, which is one of those that `list_everything` names."""
    return [Found(service, name, kept) for name, kept in _LISTINGS[service](target, names)]


Entry = tuple[str, str]
_Listing = Callable[[AwsTarget, AppNames], Iterator[Entry]]


def _pages(target: AwsTarget, service: str, operation: str, key: str, **fields: Any) -> Iterator[Any]:
    client = target.client(service)
    if not client.can_paginate(operation):
        yield from getattr(client, operation)(**fields).get(key) or []
        return
    for page in client.get_paginator(operation).paginate(**fields):
        yield from page.get(key) or []


def _named(service: str, operation: str, key: str, member: str, **fields: Any) -> _Listing:
    """List what carries a name that CloudFormation gives, or the app's own name."""

    def listing(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
        for entry in _pages(target, service, operation, key, **fields):
            name = str(entry[member] if member else entry)
            # Alarms are named after the endpoint, by us and by Application Auto Scaling.
            alarms = (f"{names.name}-endpoint-", f"TargetTracking-endpoint/{names.name}/")
            if names.is_stacks(name) or name == names.name or name.startswith(alarms):
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
    client = target.client("s3")
    for bucket in client.list_buckets()["Buckets"]:
        name = bucket["Name"]
        if names.is_stacks(name) and bucket.get("BucketRegion", target.region) == target.region:
            yield name, _STORIES if name.startswith(f"{names.storage_stack.lower()}-") else ""


def _tables(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for name in _pages(target, "dynamodb", "list_tables", "TableNames"):
        if names.is_stacks(name):
            yield name, _STORIES


def _roles(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    iam = target.client("iam")
    setting = target.client("apigateway").get_account().get("cloudwatchRoleArn", "")
    for role in _pages(target, "iam", "list_roles", "Roles"):
        if not names.is_stacks(role["RoleName"]):
            continue
        tags = {tag["Key"]: tag["Value"] for tag in iam.list_role_tags(RoleName=role["RoleName"])["Tags"]}
        stack = tags.get("aws:cloudformation:stack-id", "").split(":")
        if len(stack) > 3 and stack[3] != target.region:
            continue  # roles belong to no region: this is the app's in another one
        yield role["RoleName"], _GATEWAY_ROLE if role["Arn"] == setting else ""


def _rules(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for rule in _pages(target, "events", "list_rules", "Rules"):
        if names.is_stacks(rule["Name"]):
            yield rule["Name"], ""
        elif rule["Name"].startswith("StepFunctionsGetEventsForSageMaker"):
            yield rule["Name"], _SHARED_RULE


def _topics(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for topic in _pages(target, "sns", "list_topics", "Topics"):
        if names.is_stacks(topic["TopicArn"].rpartition(":")[2]):
            yield topic["TopicArn"], ""


def _log_groups(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    jobs = ("TrainingJobs", "ProcessingJobs", "TransformJobs")
    for group in _pages(target, "logs", "describe_log_groups", "logGroups"):
        name = group["logGroupName"]
        own_name = name.removeprefix("/aws/lambda/")
        if names.is_stacks(own_name) or name == f"/aws/sagemaker/Endpoints/{names.name}":
            yield name, ""
        elif name in [f"/aws/sagemaker/{kind}" for kind in jobs]:
            ours = list(_streams(target, name, names))
            yield from ((f"{name}: {stream}", "") for stream in ours)
            if not ours:
                yield name, _SHARED_LOG


def _streams(target: AwsTarget, group: str, names: AppNames) -> Iterator[str]:
    for purpose in ("train", "evaluate", "batch"):
        prefix = f"{names.name}-{purpose}-"
        for stream in _pages(
            target,
            "logs",
            "describe_log_streams",
            "logStreams",
            logGroupName=group,
            logStreamNamePrefix=prefix,
        ):
            yield str(stream["logStreamName"])


def _user_pools(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    client = target.client("cognito-idp")
    for pool in _pages(target, "cognito-idp", "list_user_pools", "UserPools", MaxResults=60):
        tags = client.describe_user_pool(UserPoolId=pool["Id"])["UserPool"].get("UserPoolTags", {})
        if tags.get(TAG) == names.name:
            yield pool["Id"], ""


def _apis(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for api in _pages(target, "apigateway", "get_rest_apis", "items"):
        if api.get("tags", {}).get(TAG) == names.name or api["name"] == f"{names.title}-Chat API":
            yield f"{api['name']} ({api['id']})", ""


def _distributions(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    client = target.client("cloudfront")
    listed = client.list_distributions()["DistributionList"].get("Items", [])
    for distribution in listed:
        if distribution.get("Comment", "").startswith(f"{names.title}: "):
            yield distribution["Id"], ""


def _page_policies(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    """List the page's CloudFront policies: their names begin with that of the stack."""
    client = target.client("cloudfront")
    controls = client.list_origin_access_controls()["OriginAccessControlList"].get("Items", [])
    policies = client.list_response_headers_policies(Type="custom")["ResponseHeadersPolicyList"].get(
        "Items", []
    )
    found = [control["Name"] for control in controls]
    found += [policy["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]["Name"] for policy in policies]
    for name in found:
        if name.replace("-", "").startswith(f"{names.title}Chat".replace("-", "")):
            yield name, ""


def _machines(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for machine in _pages(target, "stepfunctions", "list_state_machines", "stateMachines"):
        if names.is_stacks(machine["name"]):
            yield machine["name"], ""


def _schedules(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for group in _pages(target, "scheduler", "list_schedule_groups", "ScheduleGroups"):
        if names.is_stacks(group["Name"]):
            yield group["Name"], ""


def _parameters(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for parameter in _pages(target, "ssm", "describe_parameters", "Parameters"):
        if parameter["Name"].startswith(f"/{names.name}/"):
            yield parameter["Name"], ""


def _budgets(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
    for budget in _pages(target, "budgets", "describe_budgets", "Budgets", AccountId=target.account):
        if names.is_stacks(budget["BudgetName"]) or names.title in budget["BudgetName"]:
            yield budget["BudgetName"], ""


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


def _sagemaker(operation: str, key: str, member: str, pattern: str) -> _Listing:
    """List what SageMaker has under the names that the functions give."""

    def listing(target: AwsTarget, names: AppNames) -> Iterator[Entry]:
        beginning = pattern.format(name=names.name)
        for entry in _pages(target, "sagemaker", operation, key):
            name = str(entry[member])
            if name == names.name or name.startswith(beginning):
                yield from _job_or_thing(name, entry)

    return listing


def _job_or_thing(name: str, entry: Any) -> Iterable[Entry]:
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
    "SageMaker endpoints": _sagemaker("list_endpoints", "Endpoints", "EndpointName", "{name}-endpoint-"),
    "SageMaker endpoint configurations": _sagemaker(
        "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", "{name}-v"
    ),
    "SageMaker models": _sagemaker("list_models", "Models", "ModelName", "{name}-"),
    "SageMaker model packages": _packages,
    "SageMaker model package groups": _sagemaker(
        "list_model_package_groups",
        "ModelPackageGroupSummaryList",
        "ModelPackageGroupName",
        "{name}/",
    ),
    "SageMaker training jobs": _sagemaker(
        "list_training_jobs", "TrainingJobSummaries", "TrainingJobName", "{name}-train-"
    ),
    "SageMaker tuning jobs": _sagemaker(
        "list_hyper_parameter_tuning_jobs",
        "HyperParameterTuningJobSummaries",
        "HyperParameterTuningJobName",
        "{name}-2",
    ),
    "SageMaker processing jobs": _sagemaker(
        "list_processing_jobs", "ProcessingJobSummaries", "ProcessingJobName", "{name}-evaluate-"
    ),
    "SageMaker transform jobs": _sagemaker(
        "list_transform_jobs", "TransformJobSummaries", "TransformJobName", "{name}-batch-"
    ),
    "Application Auto Scaling targets": _scaling,
    "Lambda functions": _named("lambda", "list_functions", "Functions", "FunctionName"),
    "Lambda layers": _named("lambda", "list_layers", "Layers", "LayerName"),
    "Step Functions state machines": _machines,
    "EventBridge rules": _rules,
    "EventBridge Scheduler groups": _schedules,
    "CloudWatch log groups": _log_groups,
    "CloudWatch alarms": _named("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "CloudWatch dashboards": _named("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    "API Gateway APIs": _apis,
    "CloudFront distributions": _distributions,
    "CloudFront policies": _page_policies,
    "Cognito user pools": _user_pools,
    "SNS topics": _topics,
    "Systems Manager parameters": _parameters,
    "AWS Budgets": _budgets,
    "IAM roles": _roles,
}
