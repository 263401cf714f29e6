"""Start a batch: pack its model, unless that was done recently, and create its transform job."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from contracts import environment, statuses
from shared.batch_inference import batch_records, transform_jobs
from shared.items import BatchJob
from start_batch import archive

log = Logger(service="start_batch")

_REFUSED = {"ResourceLimitExceeded", "ValidationException"}
"""Error codes of SageMaker for which a retry does not help."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Move a batch from `preparing` to `running`. A second call continues where an earlier one ended.

    Args:
        event: `{"batch_id"}`.
        context: Lambda's.

    Returns:
        `{"batch_id", "status"}`
    """
    batch = batch_records.get(event["batch_id"])
    if batch is not None and batch.status in {statuses.PREPARING, statuses.RUNNING}:
        batch = _begin(batch)
    status = batch.status if batch else None
    log.info("After starting a batch", extra={"batch_id": event["batch_id"], "status": status})
    return {"batch_id": event["batch_id"], "status": status}


def _begin(batch: BatchJob) -> BatchJob | None:
    try:
        model_uri = archive.ensure(str(batch.bundle_uri))
    except archive.NoBundleError as error:
        batch_records.finish_batch(batch.batch_id, statuses.FAILED, {batch.status}, str(error))
        return batch_records.get(batch.batch_id)
    job = environment.common().names.transform_job(batch.batch_id)
    message = f"Waiting for its instance ({batch.instance})."
    if batch.status == statuses.PREPARING:
        # Before the job is created, so that a stop from now on finds the job.
        batch_records.move(
            batch.batch_id, statuses.RUNNING, {statuses.PREPARING}, job_name=job, message=message
        )
    claimed = batch_records.get(batch.batch_id)
    if claimed is None or claimed.status != statuses.RUNNING:
        return claimed  # it was stopped meanwhile
    try:
        transform_jobs.create_job(claimed, model_uri)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _REFUSED:
            raise
        why = transform_jobs.refusal_reason(error, claimed.instance)
        batch_records.finish_batch(claimed.batch_id, statuses.FAILED, {statuses.RUNNING}, why)
    return batch_records.get(batch.batch_id)
