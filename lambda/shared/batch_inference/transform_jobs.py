"""SageMaker's transform jobs: made once for each batch, looked at, and stopped in time.

A transform job has no longest time of its own (`MaxRuntimeInSeconds` is for training). What ends a slow one
is `watch`: the keeper calls it at every tick, and the API whenever somebody looks at a batch.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from contracts import environment, s3_keys
from contracts.resource_names import BATCH_MODEL, TRANSFORM_LOG, is_job
from shared import clock
from shared.aws import clients, consistency, tags
from shared.batch_inference import batch_records
from shared.hosting import capacity
from shared.hosting.endpoint import CONTAINER_VARIABLES
from shared.table.items import Transform

AT_ONCE = 16
"""How many prompts the model has before it at the same time."""
LONGEST_JOB = timedelta(hours=25)
"""No job of ours goes on for longer, whatever the table says."""
_ANSWER_SECONDS, _RETRIES = 600, 3
_MOST_MEGABYTES = 6
"""Of one line; times `AT_ONCE` it may be 100 at most."""
_PACKING = timedelta(minutes=20)
"""Longer than the function that packs may take, its calls being tried again included."""
_CREATING = timedelta(minutes=10)
"""For this long a job that was asked for may be unknown to SageMaker."""
_NEVER_MADE = (
    "Its job was never made. Nothing was spent. Make a new batch; if that ends the same, look at the log of "
    "the function start_transform in CloudWatch Logs."
)
_QUOTA_PAGE = "https://console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"


def create(batch: Transform, model_uri: str) -> None:
    """Make a batch's model and its transform job where they are missing.

    Args:
        batch: with its version and its job's name.
        model_uri: S3 URI of the bundle's archive: these jobs take no folder (ModelDataSource).
    """
    settings = environment.read(environment.TransformJobs)
    bucket = environment.common().artifacts_bucket
    model_name = _model_name(batch, model_uri, settings)
    _create_once(
        "create_model",
        ModelName=model_name,
        PrimaryContainer={
            "Image": settings.hosting_image,
            "ModelDataUrl": model_uri,
            # The newest driver that these jobs can have (535) is older than the container's CUDA, which then
            # needs the container's own compatibility libraries.
            "Environment": {**CONTAINER_VARIABLES, "VLLM_ENABLE_CUDA_COMPATIBILITY": "1"},
        },
        ExecutionRoleArn=settings.transform_role_arn,
        EnableNetworkIsolation=True,
        Tags=tags.of_the_app(),
    )
    resources: dict[str, Any] = {"InstanceType": batch.instance, "InstanceCount": 1}
    if settings.transform_ami:
        resources["TransformAmiVersion"] = settings.transform_ami
    requests = s3_keys.requests(batch.batch_id, batch.check_id)
    source = {"S3DataType": "S3Prefix", "S3Uri": s3_keys.uri(bucket, requests)}
    _create_once(
        "create_transform_job",
        TransformJobName=batch.job_name,
        ModelName=model_name,
        MaxConcurrentTransforms=AT_ONCE,
        MaxPayloadInMB=_MOST_MEGABYTES,
        BatchStrategy="SingleRecord",
        ModelClientConfig={
            "InvocationsTimeoutInSeconds": _ANSWER_SECONDS,
            "InvocationsMaxRetries": _RETRIES,
        },
        TransformInput={
            "DataSource": {"S3DataSource": source},
            "ContentType": "application/json",
            "SplitType": "Line",
        },
        TransformOutput={
            "S3OutputPath": s3_keys.uri(bucket, s3_keys.answers(batch.batch_id, batch.check_id)),
            "Accept": "application/json",
            "AssembleWith": "Line",
        },
        TransformResources=resources,
        Tags=tags.of_the_app(),
    )


def _model_name(batch: Transform, model_uri: str, settings: environment.TransformJobs) -> str:
    """Name the model by its version and all that it is made of: the batches of a version share one."""
    facts = "\n".join([model_uri, settings.hosting_image, settings.transform_role_arn])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
    return environment.common().names.batch_model(str(batch.version), digest)


def version_of_model(name: str) -> str | None:
    """Read the version out of the name of a transform job's model; None if it is not named so."""
    named = BATCH_MODEL.fullmatch(name)
    return named["version"] if named else None


def watch(batch: Transform) -> Transform:
    """Compare a batch that is going with its job, put its record right, and stop the job where it is time.

    Returns:
        The batch as it is then.
    """
    if not batch.going:
        batch_records.release_slot(batch.batch_id)
        return batch
    found = _describe(batch.job_name) if batch.job_name else None
    if found is None:
        _without_job(batch)
    elif found["TransformJobStatus"] in {"InProgress", "Stopping"}:
        _in_progress(batch, found)
    else:
        _ended(batch, found)
    return batch_records.get(batch.batch_id) or batch


def stop(job_name: str) -> None:
    """Have SageMaker stop a job; one that is not there, or has ended, is left as it is."""
    try:
        clients.sagemaker().stop_transform_job(TransformJobName=job_name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"ValidationException", "ResourceNotFound"}:
            raise


def stop_overdue() -> list[str]:
    """Stop jobs that have gone on for longer than any may; returns their names. The table is not asked."""
    prefix = environment.common().names.transform_job("")
    pages = (
        clients.sagemaker()
        .get_paginator("list_transform_jobs")
        .paginate(NameContains=prefix, StatusEquals="InProgress")
    )
    overdue = [
        job["TransformJobName"]
        for page in pages
        for job in page["TransformJobSummaries"]
        if is_job(job["TransformJobName"], [prefix]) and clock.now() - job["CreationTime"] > LONGEST_JOB
    ]
    for name in overdue:
        stop(name)
    return overdue


def refusal(error: ClientError, instance: str) -> str:
    """Say why SageMaker would not make a job, and what helps."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code == "ResourceLimitExceeded":
        return _no_machine(instance, "the account may not have one more")
    return f"SageMaker did not take the job: {message}"


def _without_job(batch: Transform) -> None:
    patience = _PACKING if batch.status == "preparing" else _CREATING
    if clock.now() - clock.instant(batch.since) < patience:
        return
    if batch.status == "stopping":
        batch_records.finish(batch.batch_id, "stopped", {"stopping"}, "Stopped before its job began.")
        return
    batch_records.finish(batch.batch_id, "failed", {batch.status}, _NEVER_MADE)


def _in_progress(batch: Transform, found: dict[str, Any]) -> None:
    started: datetime | None = found.get("TransformStartTime")
    if started is not None and batch.started_at is None:
        batch_records.note(batch.batch_id, started_at=clock.text(started))
    running = clock.now() - (started or found["CreationTime"])
    if batch.status == "stopping":
        # Whoever asked may have died before SageMaker heard of it, or before there was a job.
        if found["TransformJobStatus"] == "InProgress":
            stop(str(batch.job_name))
    elif batch.longest_minutes is not None and running > timedelta(minutes=batch.longest_minutes):
        why = f"Stopped after {batch.longest_minutes:g} minutes, the longest that it was allowed."
        if batch_records.move(batch.batch_id, "stopping", {"running"}, message=why):
            stop(str(batch.job_name))


def _ended(batch: Transform, found: dict[str, Any]) -> None:
    status = found["TransformJobStatus"]
    times = {
        name: clock.text(found[member])
        for name, member in (("started_at", "TransformStartTime"), ("ended_at", "TransformEndTime"))
        if found.get(member)
    }
    only_from = {batch.status}
    if status == "Completed":
        batch_records.finish(batch.batch_id, "completed", only_from, "All lines are answered.", **times)
    elif status == "Stopped":
        why = batch.message if batch.status == "stopping" and batch.message else "Stopped in SageMaker."
        batch_records.finish(batch.batch_id, "stopped", only_from, why, **times)
    else:
        why = _why_failed(batch, str(found.get("FailureReason") or "no reason was given"))
        batch_records.finish(batch.batch_id, "failed", only_from, why, **times)


def _why_failed(batch: Transform, reason: str) -> str:
    short = capacity.shortage(reason)
    if short is not None:
        return _no_machine(batch.instance, "AWS has none free" if short == "capacity" else "over the quota")
    return (
        f"The transform job failed: {reason.rstrip('.')}. What it answered before is kept. Its log is in "
        f"CloudWatch Logs under {TRANSFORM_LOG}, {batch.job_name}."
    )


def _no_machine(instance: str, why: str) -> str:
    return (
        f"There is no {instance} for the job: {why}. Nothing was spent. Name another machine, wait a while, "
        f'or raise the quota "{instance} for transform job usage" at {_QUOTA_PAGE}.'
    )


def _describe(job_name: str) -> dict[str, Any] | None:
    try:
        return dict(clients.sagemaker().describe_transform_job(TransformJobName=job_name))
    except ClientError as error:
        missing = error.response["Error"]["Code"] == "ResourceNotFound"
        if missing or "could not find" in error.response["Error"]["Message"].lower():
            return None
        raise


def _create_once(operation: str, **fields: Any) -> None:
    try:
        consistency.retry_until_visible(getattr(clients.sagemaker(), operation), **fields)
    except ClientError as error:
        there = error.response["Error"]["Code"] == "ResourceInUse"
        if not there and "already exist" not in error.response["Error"]["Message"]:
            raise
