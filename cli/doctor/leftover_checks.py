"""Checks for what an earlier deployment under this name has left: stacks, endpoint, jobs, kept storage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from cli.doctor.aws_account import AwsAccount, code_of
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, fault, ok, warning
from contracts.resource_names import TAG, is_job
from contracts.settings import Settings
from price_list import start_prices

STACK_PERMISSIONS = ("cloudformation:DescribeStacks", "cloudformation:DescribeStackEvents")
ENDPOINT_PERMISSIONS = (
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
    "cloudformation:DescribeStacks",
)
JOB_PERMISSIONS = (
    "sagemaker:ListTrainingJobs",
    "sagemaker:ListProcessingJobs",
    "sagemaker:ListTransformJobs",
    "sagemaker:ListHyperParameterTuningJobs",
    "sagemaker:ListTags",
    "cloudformation:DescribeStacks",
)
KEPT_PERMISSIONS = ("tag:GetResources", "cloudformation:DescribeStacks")
"""The app's stacks are named after its name and these, and deployed in this order."""
DESTROY = "storyloom destroy"
_LIVE = re.compile("CREATE_COMPLETE|UPDATE_|IMPORT_")
"""States of a stack that was created; ROLLBACK_* and DELETE_* are of one that was not, or is deleted."""
_EMPTY = frozenset({"ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"})


def stack_names(examination: Examination) -> list[str]:
    """Name the app's stacks."""
    return list(examination.settings.names.all_stacks)


def described(account: AwsAccount, stack: str) -> dict[str, Any] | None:
    """Describe a stack; None if there is none of this name."""
    try:
        (description,) = account.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if code_of(error) == "ValidationError" and "does not exist" in str(error):
            return None
        raise
    return None if description["StackStatus"] == "DELETE_COMPLETE" else dict(description)


def is_live(account: AwsAccount, stack: str) -> bool:
    """Tell whether a stack was created completely, so that its resources exist and work."""
    description = described(account, stack)
    return description is not None and _LIVE.match(description["StackStatus"]) is not None


def holds_resources(account: AwsAccount, stack: str) -> bool:
    """Tell whether a stack has resources, so that names in use may be its own."""
    description = described(account, stack)
    return description is not None and description["StackStatus"] not in _EMPTY


def stacks(examination: Examination) -> Iterator[Finding]:
    """Check each stack's state: in some states it cannot be deployed."""
    account = examination.account
    found = {name: described(account, name) for name in stack_names(examination)}
    there = {name: description for name, description in found.items() if description}
    if not there:
        yield ok("Stacks", f"none of this name ({', '.join(found)}): a first deployment")
        return
    findings = [_state(account, name, description) for name, description in there.items()]
    missing = [name for name in found if name not in there]
    if missing and all(finding.status == "ok" for finding in findings):
        findings = [_partly_deployed(examination, list(there), missing)]
    yield from findings


def _partly_deployed(examination: Examination, there: list[str], missing: list[str]) -> Finding:
    if there == [examination.settings.names.storage_stack]:
        return ok(there[0], "kept from before: a deployment continues with its stories and versions")
    return warning(
        "Stacks",
        f"deployed in part: {', '.join(there)} without {', '.join(missing)}",
        "Deploy all of them together: npx --no-install cdk deploy --all",
    )


@dataclass(frozen=True)
class _StackState:
    """What a state of CloudFormation means for the next deployment."""

    status: Literal["warning", "fault"]
    meaning: str
    """A template with `{reason}` for the reason of the failure."""
    cure: str
    """A template with `{stack}` and `{region}`."""


_DELETE = "aws cloudformation delete-stack --stack-name {stack} --region {region}"
_NOT_CREATED = _StackState(
    "warning",
    "its creation failed{reason}; cdk deploy deletes it and tries again",
    f"Fix the reason first. To delete it now: {_DELETE}",
)
_STATES = {
    "ROLLBACK_COMPLETE": _NOT_CREATED,
    "ROLLBACK_FAILED": _StackState(
        "warning",
        "its creation failed{reason}, and not all of it could be removed; cdk deploy deletes it and tries "
        "again, which fails if that is still so",
        f"Fix the reason first, and finish the deletion: {DESTROY}",
    ),
    "CREATE_FAILED": _StackState("fault", "its creation failed{reason}", f"Delete it: {_DELETE}"),
    "DELETE_FAILED": _StackState(
        "fault",
        "its deletion failed{reason}; nothing can be deployed over it",
        f"Finish the deletion: {DESTROY}",
    ),
    "UPDATE_FAILED": _StackState(
        "fault",
        "its last update failed and was not rolled back{reason}",
        "Roll it back: npx --no-install cdk rollback {stack}",
    ),
    "UPDATE_ROLLBACK_FAILED": _StackState(
        "fault",
        "its last update failed, and so did the rollback{reason}",
        "Continue it: aws cloudformation continue-update-rollback --stack-name {stack} --region {region}",
    ),
    "REVIEW_IN_PROGRESS": _StackState(
        "warning", "only a change set of it was made; cdk deploy replaces it", f"To delete it now: {_DELETE}"
    ),
}
_CHANGING = _StackState(
    "fault", "an operation on it is in progress", "Wait until that ends, then run the doctor again."
)


def _state(account: AwsAccount, name: str, description: dict[str, Any]) -> Finding:
    status = str(description["StackStatus"])
    state = _STATES.get(status) or (_CHANGING if status.endswith("_IN_PROGRESS") else None)
    if state is None:
        return ok(name, f"deployed already ({status}); a deployment updates it")
    reason = _first_reason(account, name) if "{reason}" in state.meaning else ""
    return Finding(
        state.status,
        name,
        f"{status}: {state.meaning.format(reason=reason)}",
        state.cure.format(stack=name, region=account.region),
        account.console(f"cloudformation/home#/stacks/events?stackId={description['StackId']}"),
    )


def _first_reason(account: AwsAccount, name: str) -> str:
    """Return what failed first in the last operation, because later failures follow from it."""
    try:
        pages = (
            account.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=name)
        )
        events = [event for page in pages for event in page["StackEvents"]]
    except ClientError:
        return ""
    reason = ""
    for event in events:  # newest first
        status, why = event.get("ResourceStatus", ""), event.get("ResourceStatusReason", "")
        if event.get("LogicalResourceId") == name and why == "User Initiated":
            break
        if status.endswith("_FAILED") and "cancelled" not in why and event.get("LogicalResourceId") != name:
            reason = f" at {event['LogicalResourceId']}: {' '.join(why.split())[:240]}"
    return reason


def endpoint(examination: Examination) -> Iterator[Finding]:
    """Look for an endpoint that is awake without a stack that deletes it when idle."""
    account, name, subject = examination.account, examination.settings.name, "Endpoint"
    try:
        found = account.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if code_of(error) == "ValidationException" and "ould not find" in str(error):
            yield ok(subject, f"none named {name}: nothing bills")
            return
        raise
    if is_live(account, examination.settings.names.chat_stack):
        yield ok(subject, f"{name} is {found['EndpointStatus']}, and is deleted when it is idle")
        return
    yield fault(
        subject,
        f"{name} of an earlier deployment is {found['EndpointStatus']}{_bill(account, found)}, and nothing "
        "deletes it when it is idle",
        f"Delete it: aws sagemaker delete-endpoint --endpoint-name {name} --region {account.region}",
        account.console(f"sagemaker/home#/endpoints/{name}"),
    )


def _bill(account: AwsAccount, found: dict[str, Any]) -> str:
    try:
        config = account.client("sagemaker").describe_endpoint_config(
            EndpointConfigName=found["EndpointConfigName"]
        )
    except ClientError:
        return ""
    instance = config["ProductionVariants"][0].get("InstanceType", "")
    known = start_prices.find("hosting", instance, account.region)
    return f" and bills ${known.usd_per_hour:.2f} an hour" if known else f" and bills an {instance}"


def jobs(examination: Examination) -> Iterator[Finding]:
    """Look for jobs in progress."""
    account = examination.account
    running = _running_jobs(account.client("sagemaker"), examination.settings)
    if not running:
        yield ok("Jobs", "none of this name is running")
        return
    if is_live(account, examination.settings.names.pipeline_stack):
        yield ok("Jobs", f"running: {', '.join(running)}; a deployment leaves them alone")
        return
    yield warning(
        "Jobs",
        f"of an earlier deployment still running, and paid for: {', '.join(running)}",
        f"Stop them: {DESTROY}",
        account.console("sagemaker/home#/jobs"),
    )


def _running_jobs(client: Any, settings: Settings) -> list[str]:
    """Name this app's running jobs, by their whole name or by the app's tag."""
    names = settings.names
    search = names.tuning_job("")
    own = [names.training_job(""), names.evaluation_job(""), names.transform_job("")]
    found: dict[str, str] = {}
    for kind, api in (
        ("training", "TrainingJob"),
        ("processing", "ProcessingJob"),
        ("transform", "TransformJob"),
        ("hyper_parameter_tuning", "HyperParameterTuningJob"),
    ):
        pages = client.get_paginator(f"list_{kind}_jobs").paginate(
            NameContains=search.rstrip("-"), StatusEquals="InProgress"
        )
        found.update(
            {job[f"{api}Name"]: job[f"{api}Arn"] for page in pages for job in page[f"{api}Summaries"]}
        )
    tag = {"Key": TAG, "Value": names.name}
    return [
        job
        for job, arn in found.items()
        if is_job(job, own) or (is_job(job, [search]) and tag in client.list_tags(ResourceArn=arn)["Tags"])
    ]


def kept(examination: Examination) -> Iterator[Finding]:
    """Look for the storage that is kept after a deletion."""
    account, settings = examination.account, examination.settings
    if not holds_resources(account, settings.names.storage_stack):
        yield from _kept_storage(account, settings.name)
    else:
        yield ok("Kept storage", "in the Storage stack, which keeps it")


def _kept_storage(account: AwsAccount, name: str) -> Iterator[Finding]:
    pages = (
        account.client("resourcegroupstaggingapi")
        .get_paginator("get_resources")
        .paginate(
            TagFilters=[{"Key": TAG, "Values": [name]}],
            ResourceTypeFilters=["s3", "dynamodb:table"],
        )
    )
    found = [
        entry["ResourceARN"].rsplit(":", 1)[-1].removeprefix("table/")
        for page in pages
        for entry in page["ResourceTagMappingList"]
    ]
    if not found:
        yield ok("Kept storage", "no buckets or table of an earlier deployment")
        return
    yield warning(
        "Kept storage",
        f"of a deployment whose Storage stack is gone: {', '.join(sorted(found))}; a new one makes its own",
        "Copy what you want of them into the new buckets with aws s3 sync; nothing else uses them any more.",
    )
