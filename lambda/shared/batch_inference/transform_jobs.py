"""SageMaker's transform jobs, one for each batch: create, watch and stop them.

A transform job has no time limit of its own (`MaxRuntimeInSeconds` is for training). `watch` stops a slow
one: the endpoint manager calls it at every tick, and the API whenever somebody looks at a batch.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from contracts import environment, s3_keys, statuses
from contracts.resource_names import BATCH_MODEL, TRANSFORM_LOG, is_job
from shared import clock
from shared.aws import clients, sagemaker_calls
from shared.batch_inference import batch_records
from shared.hosting import instances
from shared.hosting.endpoint_configs import CONTAINER_VARIABLES
from shared.items import BatchJob

AT_ONCE = 16
"""How many prompts the model answers at the same time."""
LONGEST_JOB = timedelta(hours=25)
"""The longest time of any job, whatever is in the table."""
_ANSWER_SECONDS, _RETRIES = 600, 3
_MOST_MEGABYTES = 6
"""Maximum size of one line; times `AT_ONCE` it may be at most 100."""
_PACKING = timedelta(minutes=20)
"""Longer than the function that packs the model may take, with its retries."""
_CREATING = timedelta(minutes=10)
"""How long a job that was requested may be unknown to SageMaker."""
_NEVER_MADE = (
    "Its job was never created. Nothing was spent. Create a new batch; if that fails too, look at the log of "
    "the function start_batch in CloudWatch Logs."
)
_QUOTA_PAGE = "https://console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"
log = Logger(service="endpoint_manager")


def create_job(batch: BatchJob, model_uri: str) -> None:
    """Create a batch's model and its transform job, unless they exist.

    Args:
        batch: with its version and its job's name.
        model_uri: S3 URI of the bundle's archive, because these jobs accept no folder (ModelDataSource).
    """
    settings = environment.read(environment.TransformJobs)
    bucket = environment.common().artifacts_bucket
    model_name = _model_name(batch, model_uri, settings)
    sagemaker_calls.create_once(
        "create_model",
        ModelName=model_name,
        PrimaryContainer={
            "Image": settings.hosting_image,
            "ModelDataUrl": model_uri,
            # The newest driver of these jobs (535) is older than the container's CUDA, which then needs the
            # container's own compatibility libraries.
            "Environment": {**CONTAINER_VARIABLES, "VLLM_ENABLE_CUDA_COMPATIBILITY": "1"},
        },
        ExecutionRoleArn=settings.transform_role_arn,
        EnableNetworkIsolation=True,
        Tags=sagemaker_calls.app_tags(),
    )
    resources: dict[str, Any] = {"InstanceType": batch.instance, "InstanceCount": 1}
    if settings.transform_ami:
        resources["TransformAmiVersion"] = settings.transform_ami
    requests = s3_keys.requests(batch.batch_id, batch.check_id)
    source = {"S3DataType": "S3Prefix", "S3Uri": s3_keys.uri(bucket, requests)}
    sagemaker_calls.create_once(
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
        Tags=sagemaker_calls.app_tags(),
    )


def _model_name(batch: BatchJob, model_uri: str, settings: environment.TransformJobs) -> str:
    """Return the model's name, from its version and content: the batches of a version share a model."""
    facts = "\n".join([model_uri, settings.hosting_image, settings.transform_role_arn])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
    return environment.common().names.batch_model(str(batch.version), digest)


def version_of_model(name: str) -> str | None:
    """Return the version in the name of a transform job's model; None if the name has another form."""
    named = BATCH_MODEL.fullmatch(name)
    return named["version"] if named else None


def watch(batch: BatchJob) -> BatchJob:
    """Compare a batch with its job, correct its record, and stop the job if it is overdue.

    Returns:
        The batch as it is afterwards.
    """
    if not batch.is_active:
        batch_records.release_batch_slot(batch.batch_id)
        return batch
    found = _describe(batch.job_name) if batch.job_name else None
    if found is None:
        _without_job(batch)
    elif found["TransformJobStatus"] in {"InProgress", "Stopping"}:
        _in_progress(batch, found)
    else:
        _ended(batch, found)
    return batch_records.get(batch.batch_id) or batch


def stop_job(job_name: str) -> None:
    """Stop a job, unless it does not exist or has ended."""
    try:
        clients.sagemaker().stop_transform_job(TransformJobName=job_name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"ValidationException", "ResourceNotFound"}:
            raise


def stop_overdue() -> list[str]:
    """Stop jobs that exceed the longest time of any job, without the table; returns their names."""
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
        stop_job(name)
    return overdue


def refusal_reason(error: ClientError, instance: str) -> str:
    """Return why SageMaker refused a job, and what to do."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code == "ResourceLimitExceeded":
        return _no_instance(instance, "the account may not have one more")
    return f"SageMaker refused the job: {message}"


def _without_job(batch: BatchJob) -> None:
    patience = _PACKING if batch.status == statuses.PREPARING else _CREATING
    if clock.now() - clock.instant(batch.since) < patience:
        return
    if batch.status == statuses.STOPPING:
        batch_records.finish_batch(
            batch.batch_id, statuses.STOPPED, {statuses.STOPPING}, "Stopped before its job began."
        )
        return
    batch_records.finish_batch(batch.batch_id, statuses.FAILED, {batch.status}, _NEVER_MADE)


def _in_progress(batch: BatchJob, found: dict[str, Any]) -> None:
    started: datetime | None = found.get("TransformStartTime")
    if started is not None and batch.started_at is None:
        batch_records.update_fields(batch.batch_id, started_at=clock.text(started))
    running = clock.now() - (started or found["CreationTime"])
    if batch.status == statuses.STOPPING:
        # The function that recorded the request may have died before it stopped the job.
        if found["TransformJobStatus"] == "InProgress":
            stop_job(str(batch.job_name))
    elif batch.longest_minutes is not None and running > timedelta(minutes=batch.longest_minutes):
        why = f"Stopped after {batch.longest_minutes:g} minutes, the longest that it was allowed."
        if batch_records.move(batch.batch_id, statuses.STOPPING, {statuses.RUNNING}, message=why):
            stop_job(str(batch.job_name))


def _ended(batch: BatchJob, found: dict[str, Any]) -> None:
    status = found["TransformJobStatus"]
    times = {
        name: clock.text(found[member])
        for name, member in (("started_at", "TransformStartTime"), ("ended_at", "TransformEndTime"))
        if found.get(member)
    }
    only_from = {batch.status}
    if status == "Completed":
        batch_records.finish_batch(
            batch.batch_id, statuses.COMPLETED, only_from, "All lines are answered.", **times
        )
    elif status == "Stopped":
        why = (
            batch.message if batch.status == statuses.STOPPING and batch.message else "Stopped in SageMaker."
        )
        batch_records.finish_batch(batch.batch_id, statuses.STOPPED, only_from, why, **times)
    else:
        why = _why_failed(batch, str(found.get("FailureReason") or "no reason was given"))
        batch_records.finish_batch(batch.batch_id, statuses.FAILED, only_from, why, **times)


def _why_failed(batch: BatchJob, reason: str) -> str:
    short = instances.shortage(reason)
    if short is not None:
        return _no_instance(batch.instance, "AWS has none free" if short == "capacity" else "over the quota")
    return (
        f"The transform job failed: {reason.rstrip('.')}. What it answered before is kept. Its log is in "
        f"CloudWatch Logs under {TRANSFORM_LOG}, {batch.job_name}."
    )


def _no_instance(instance: str, why: str) -> str:
    return (
        f"There is no {instance} for the job: {why}. Nothing was spent. Name another instance, wait a while, "
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


def check_batches() -> None:
    """Stop overdue jobs, and correct the records of active batches."""
    # Before the table is read, so that overdue jobs are stopped even if it cannot be read.
    overdue = stop_overdue()
    if overdue:
        log.warning("Stopped overdue transform jobs", extra={"jobs": overdue})
    for batch_id in batch_records.list_active_ids():
        batch = batch_records.get(batch_id)
        if batch is None:
            batch_records.release_batch_slot(batch_id)
        else:
            watch(batch)
