"""Stop and delete this app's SageMaker jobs, found by their names, and delete their logs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from clean_up.resources import Remaining, is_missing
from contracts import environment, resource_names
from shared.aws import clients, sagemaker_calls

log = Logger(service="clean_up", child=True)

_ACTIVE_STATUSES = ("InProgress", "Stopping")


@dataclass(frozen=True)
class JobKind:
    """A kind of job, with its names in the API."""

    plural: str
    api: str
    """Its name in SageMaker's operations and members, such as `TrainingJob`."""
    operation: str
    """The same in boto3's names, such as `training_job`."""
    log_group: str
    may_be_deleted: bool = True


TUNING = JobKind("tuning jobs", "HyperParameterTuningJob", "hyper_parameter_tuning_job", "")
TRAINING = JobKind("training jobs", "TrainingJob", "training_job", resource_names.TRAINING_LOG)
PROCESSING = JobKind("processing jobs", "ProcessingJob", "processing_job", resource_names.PROCESSING_LOG)
# SageMaker has no operation that deletes a transform job; an ended job is only listed and costs nothing.
TRANSFORM = JobKind(
    "transform jobs", "TransformJob", "transform_job", resource_names.TRANSFORM_LOG, may_be_deleted=False
)
KINDS = (TUNING, TRAINING, PROCESSING, TRANSFORM)


def stop_jobs(kind: JobKind) -> list[Remaining]:
    """Stop the active jobs; returns those that have not ended yet."""
    remaining = []
    for status in _ACTIVE_STATUSES:
        for name in _jobs(kind, status):
            if status == "InProgress":
                _stop(kind, name)
            remaining.append(Remaining(f"{kind.plural[:-1]} {name}", "it is being stopped"))
    return remaining


def delete_logs(kind: JobKind) -> list[Remaining]:
    """Delete the log streams of this app's jobs; all jobs of the account share the log groups."""
    if not kind.log_group:
        return []
    for prefix in _stream_prefixes(kind):
        for stream in _streams(kind.log_group, prefix):
            if resource_names.is_job(stream.partition("/")[0], _prefixes(kind)):
                clients.logs().delete_log_stream(logGroupName=kind.log_group, logStreamName=stream)
    return []


def delete_jobs(kind: JobKind) -> list[Remaining]:
    """Delete the ended jobs. If that is refused they stay listed, which costs nothing."""
    # The boto3 of Lambda's Python may be older than the operation.
    delete = getattr(clients.sagemaker(), f"delete_{kind.operation}", None)
    if not kind.may_be_deleted or delete is None:
        return []
    for name in list(_jobs(kind)):
        try:
            delete(**{f"{kind.api}Name": name})
        except ClientError as error:
            if not is_missing(error):
                log.warning("An ended job stays listed", extra={"job": name, "error": str(error)})
    return []


def _stop(kind: JobKind, name: str) -> None:
    try:
        getattr(clients.sagemaker(), f"stop_{kind.operation}")(**{f"{kind.api}Name": name})
    except ClientError as error:
        # It may have ended since it was listed.
        if not is_missing(error) and error.response["Error"]["Code"] != "ValidationException":
            raise


def _jobs(kind: JobKind, status: str = "") -> Iterator[str]:
    """List this app's jobs, in one status or in all of them."""
    client: Any = clients.sagemaker()
    chosen = {"StatusEquals": status} if status else {}
    arns: dict[str, str] = {}  # a name may contain both prefixes of training jobs
    for prefix in _prefixes(kind):
        pages = client.get_paginator(f"list_{kind.operation}s").paginate(NameContains=prefix, **chosen)
        for page in pages:
            for found in page[f"{kind.api}Summaries"]:
                arns[str(found[f"{kind.api}Name"])] = str(found[f"{kind.api}Arn"])
    for name, arn in arns.items():
        is_named = resource_names.is_job(name, _prefixes(kind))
        if is_named and (not _is_ambiguous(kind, name) or _carries_our_tag(arn)):
            yield name


def _prefixes(kind: JobKind) -> list[str]:
    names = environment.common().names
    training, tuning = names.training_job(""), names.tuning_job("")
    return {
        TUNING.plural: [tuning],
        TRAINING.plural: list(dict.fromkeys([training, tuning])),
        PROCESSING.plural: [names.evaluation_job("")],
        TRANSFORM.plural: [names.transform_job("")],
    }[kind.plural]


def _stream_prefixes(kind: JobKind) -> list[str]:
    if kind is not TRAINING:
        return _prefixes(kind)
    trials = [f"{job}/" for job in _jobs(TRAINING) if _is_ambiguous(TRAINING, job)]
    return [environment.common().names.training_job(""), *trials]


def _is_ambiguous(kind: JobKind, job: str) -> bool:
    """Return whether another app may have the same prefix, which a tuning job's name shortens."""
    training = environment.common().names.training_job("")
    return kind is TUNING or (kind is TRAINING and not job.startswith(training))


def _carries_our_tag(arn: str) -> bool:
    found = clients.sagemaker().list_tags(ResourceArn=arn)["Tags"]
    return all(tag in found for tag in sagemaker_calls.app_tags())


def _streams(group: str, prefix: str) -> list[str]:
    pages = (
        clients.logs()
        .get_paginator("describe_log_streams")
        .paginate(logGroupName=group, logStreamNamePrefix=prefix)
    )
    try:
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    except ClientError as error:
        if is_missing(error):
            return []
        raise
