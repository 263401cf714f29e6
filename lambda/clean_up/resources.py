"""Remove what is created at run time, apart from jobs: runs, schedules, page files, endpoint and models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts import environment
from contracts.resource_names import AppNames
from shared.aws import clients
from shared.hosting import endpoint, scaling

_REFUSALS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_CAUSE = "The deployment is being deleted."


@dataclass(frozen=True)
class Remaining:
    """A resource that still exists."""

    what: str
    why: str
    refused: bool = False
    """Whether a permission is missing, so that waiting does not help."""

    def __str__(self) -> str:
        return f"{self.what} ({self.why})"


def attempt(what: str, step: Callable[[], list[Remaining]]) -> list[Remaining]:
    """Run one step of a sweep. An error is returned as what remains, so that the other steps continue.

    Args:
        what: what the step removes, for the message.
        step: returns what still exists after it.
    """
    try:
        return step()
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        return [Remaining(what, f"{code}: {message}", refused=code in _REFUSALS)]
    except BotoCoreError as error:
        return [Remaining(what, str(error))]


def is_missing(error: ClientError) -> bool:
    """Return whether AWS answered that the resource does not exist."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"].lower()
    missing = ("ResourceNotFound", "ResourceNotFoundException", "StateMachineDoesNotExist")
    return code in missing or "could not find" in message or "does not exist" in message


def delete_schedules() -> list[Remaining]:
    """Delete the one-time schedules that would start a run."""
    schedule = environment.read(environment.Schedule)
    client = clients.scheduler()
    for name in (schedule.schedule_name, schedule.deploy_schedule_name):
        try:
            client.delete_schedule(Name=name, GroupName=schedule.schedule_group)
        except client.exceptions.ResourceNotFoundException:
            continue
    return []


def stop_runs() -> list[Remaining]:
    """Stop the runs in progress; returns those that have not ended yet.

    Step Functions stops the job that a run waits for, and the children of its Distributed Map.
    """
    machine = environment.read(environment.StateMachine).state_machine_arn
    client = clients.stepfunctions()
    try:
        pages = client.get_paginator("list_executions").paginate(
            stateMachineArn=machine, statusFilter="RUNNING"
        )
        running = [execution for page in pages for execution in page["executions"]]
    except ClientError as error:
        if is_missing(error):
            return []
        raise
    for execution in running:
        client.stop_execution(executionArn=execution["executionArn"], cause=_CAUSE)
    return [Remaining(f"run {execution['name']}", "it is being stopped") for execution in running]


def delete_page_files(bucket: str) -> list[Remaining]:
    """Delete everything in the page's bucket, which has no versions."""
    client = clients.s3()
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for page in pages:
            keys = [entry["Key"] for entry in page.get("Contents", [])]
            if keys:
                client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
    return []


def delete_packages() -> list[Remaining]:
    """Delete the model packages of the app's group."""
    client = clients.sagemaker()
    group = environment.common().name
    pages = client.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    try:
        packages = [
            package["ModelPackageArn"] for page in pages for package in page["ModelPackageSummaryList"]
        ]
        for package in packages:
            client.delete_model_package(ModelPackageName=package)
    except ClientError as error:
        if not is_missing(error):
            raise
    return []


def delete_endpoint_and_scaling() -> list[Remaining]:
    """Delete the endpoint and its scaling. SageMaker needs the endpoint's role until it is deleted."""
    found = endpoint.describe()
    try:
        deleted = endpoint.delete()  # even if there is none, because its scaling may be left
    except clients.dynamodb().exceptions.ResourceNotFoundException:
        # Its owner deleted the table too, so its cost cannot be recorded.
        scaling.stop_scaling()
        deleted = True
    if found is None:
        return []
    why = "it is being deleted"
    if not deleted:
        why = f"it is {found.status.lower()}, and SageMaker deletes it only afterwards"
    return [Remaining(f"endpoint {_names().name}", why)]


def delete_configurations() -> list[Remaining]:
    """Delete the endpoint configurations."""
    client = clients.sagemaker()
    pages = client.get_paginator("list_endpoint_configs").paginate(NameContains=_names().name)
    names = [found["EndpointConfigName"] for page in pages for found in page["EndpointConfigs"]]
    for name in filter(_names().is_endpoint_config, names):
        _delete(client.delete_endpoint_config, EndpointConfigName=name)
    return []


def delete_models() -> list[Remaining]:
    """Delete SageMaker's models of the endpoint and of transform jobs."""
    client = clients.sagemaker()
    pages = client.get_paginator("list_models").paginate(NameContains=_names().name)
    for name in [found["ModelName"] for page in pages for found in page["Models"]]:
        if _names().is_endpoint_config(name) or _names().is_batch_model(name):
            _delete(client.delete_model, ModelName=name)
    return []


def delete_log() -> list[Remaining]:
    """Delete the endpoint's log group, which SageMaker created and in which nothing expires."""
    _delete(clients.logs().delete_log_group, logGroupName=_names().endpoint_log)
    return []


def _delete(operation: Callable[..., Any], **fields: str) -> None:
    try:
        operation(**fields)
    except ClientError as error:
        if not is_missing(error):
            raise


def _names() -> AppNames:
    return environment.common().names
