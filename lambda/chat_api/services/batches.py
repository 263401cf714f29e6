"""Batches: many prompts that a SageMaker transform job answers, from the upload to the results."""

import json

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from chat_api.errors import ApiError
from chat_api.openai import request_fields
from chat_api.services import batch_files, bucket_files, costs, limits, model_access, prompt_lines
from contracts import environment, s3_keys, statuses
from contracts.statuses import BatchStatus
from shared.answers import usage
from shared.aws import clients
from shared.batch_inference import batch_records, transform_jobs
from shared.items import BatchJob, LivePointer
from shared.models import versions
from shared.spending import ledger

log = Logger(service="chat_api")

_BEFORE_START: frozenset[BatchStatus] = frozenset({statuses.UPLOADING, statuses.CHECKED})
_RETRY_SECONDS = 60


def record_batch(
    file_name: str,
    size: int,
    model: str,
    max_tokens: int,
    instance: str | None,
    *,
    owner: str,
    created_by: str,
) -> BatchJob:
    """Create a batch, whose file of prompts is not uploaded yet.

    Args:
        file_name: the name of the file of prompts.
        size: its bytes.
        model: the model of lines without one.
        max_tokens: the limit of answers to lines without one.
        instance: the instance type, or None for the default.
        owner: the caller's id.
        created_by: the caller's name.

    Raises:
        ApiError: the file is too large, or the model or the instance cannot be used.
    """
    name = bucket_files.normalized_name(file_name).rpartition("/")[2]
    if size > limits.MAX_BATCH_BYTES:
        raise ApiError(
            "file_too_large",
            f"{name} has {size / 2**20:.0f} MB; a file of prompts may have at most "
            f"{limits.MAX_BATCH_BYTES // 2**20} MB.",
            "Divide it into several files.",
        )
    if model not in _endpoint_names():
        raise model_access.unknown_model_error(model, _live_pointer())
    return batch_records.create_record(
        owner=owner,
        created_by=created_by,
        name=name,
        model=model,
        max_tokens=max_tokens,
        instance=_instance(instance),
    )


def prompts_upload_form(batch_id: str, size: int) -> bucket_files.UploadForm:
    """Permit the upload of a batch's file of prompts, for 15 minutes."""
    return bucket_files.upload_form(environment.common().artifacts_bucket, s3_keys.prompts(batch_id), size)


def check_prompts(batch_id: str, owner: str, *, strict: bool) -> tuple[BatchJob, list[str]]:
    """Read the uploaded file line by line, and compute the time and cost of its answers.

    Args:
        batch_id: the batch's id.
        owner: the caller's id.
        strict: whether to refuse unknown fields.

    Returns:
        The batch, and the names of the ignored fields.

    Raises:
        ApiError: a line cannot be used, or the batch cannot be checked now.
    """
    batch = existing_batch(batch_id, owner)
    if batch.status not in _BEFORE_START:
        raise _has_begun_error(batch)
    live = _live_pointer()
    file = batch_files.read_prompts(batch_id)
    if file is None:
        raise ApiError(
            "not_uploaded",
            f"The file of batch {batch_id} has not been uploaded.",
            "Upload it with the form that the batch was created with.",
        )
    chat, context = environment.common().base_model.chat, limits.context_tokens()
    rules = prompt_lines.Rules(_endpoint_names(), batch.model, batch.max_tokens, chat, context, strict)
    lines = prompt_lines.parse_file(file.content, rules)
    ignored = sorted({name for line in lines for name in line.ignored})
    answer_tokens = sum(line.answer_tokens for line in lines)
    price = costs.estimate_batch(answer_tokens, batch.instance)
    moved = batch_records.move(
        batch_id,
        statuses.CHECKED,
        _BEFORE_START,
        message=_checked_message(ignored),
        check_id=batch_files.write_requests(batch_id, lines),
        file_etag=file.etag,
        lines=len(lines),
        lines_a_part=batch_files.lines_a_part(len(lines)),
        version=live.version,
        bundle_uri=live.bundle_uri,
        answer_tokens=answer_tokens,
        **price,
    )
    batch = existing_batch(batch_id, owner)
    if not moved:
        raise _has_begun_error(batch)
    return batch, ignored


def submit_batch(batch_id: str, owner: str, account: str) -> BatchJob:
    """Start a batch that has been checked; from then on it costs. Starting it again changes nothing.

    Args:
        batch_id: the batch's id.
        owner: the caller's id.
        account: whose tokens of the day its answers count in.

    Raises:
        ApiError: the batch has not been checked, its file has changed since, or a limit is reached.
    """
    batch = existing_batch(batch_id, owner)
    if batch.status == statuses.UPLOADING:
        raise ApiError(
            "not_checked",
            f"Batch {batch_id} has not been checked.",
            f"Upload its file, then: POST /api/batches/{batch_id}/check",
        )
    if batch.status == statuses.CHECKED:
        if batch.file_etag and batch_files.prompts_etag(batch_id) != batch.file_etag:
            raise _file_changed_error(batch_id)
        limits.check_daily_tokens(account)
        if not batch_records.acquire_batch_slot(batch_id):
            raise _too_many_batches_error()
        _reserve(batch)
        message = "The model is being packed for the job, unless that has been done recently."
        # Conditional on the check that was read here, so that its lines and its price belong together.
        if batch_records.move(
            batch_id, statuses.PREPARING, {statuses.CHECKED}, only_check=batch.check_id, message=message
        ):
            batch_records.acquire_batch_slot(batch_id)  # the endpoint manager may have released it meanwhile
            _invoke_start_batch(batch_id)
            usage.add_tokens(account, batch.answer_tokens or 0)
            log.info("Started a batch", extra={"batch_id": batch_id, "by": owner, "lines": batch.lines})
    batch = existing_batch(batch_id, owner)
    if not batch.is_active:
        # It has ended, or was stopped or checked again meanwhile.
        batch_records.release_batch_slot(batch_id)
        if batch.job_name is None:  # the endpoint manager settles what a job has cost
            ledger.release_reservation("batch", batch_id)
    if batch.status == statuses.CHECKED:
        raise _file_changed_error(batch_id)  # it was checked again meanwhile
    return batch


def end_batch(batch_id: str, owner: str, name: str) -> BatchJob:
    """Stop a batch. The answers so far are kept.

    Args:
        batch_id: the batch's id.
        owner: the caller's id.
        name: the caller's name.

    Raises:
        ApiError: there is no such batch, or it has ended.
    """
    batch = current_batch(batch_id, owner)
    reason = f"{name} stopped it."
    if batch.status in {statuses.UPLOADING, statuses.CHECKED, statuses.PREPARING}:
        if batch_records.finish_batch(
            batch_id, statuses.STOPPED, {statuses.UPLOADING, statuses.CHECKED, statuses.PREPARING}, reason
        ):
            ledger.release_reservation("batch", batch_id)  # no job is created for it any more
        batch = existing_batch(batch_id, owner)
    if batch.status == statuses.RUNNING and batch_records.move(
        batch_id, statuses.STOPPING, {statuses.RUNNING}, message=reason
    ):
        transform_jobs.stop_job(str(batch.job_name))
    elif batch.status in {statuses.COMPLETED, statuses.FAILED}:
        raise ApiError(
            "has_ended",
            f"Batch {batch_id} has already ended.",
            f"Fetch its answers: GET /api/batches/{batch_id}/results",
        )
    return existing_batch(batch_id, owner)


def batch_results(batch_id: str, owner: str) -> tuple[str, batch_files.LineCounts]:
    """Collect the answers of a batch that has ended, also of one that was stopped or failed.

    Returns:
        A link to the file with the answers, and the counts of its lines.

    Raises:
        ApiError: the batch has not ended, or has no answers.
    """
    batch = current_batch(batch_id, owner)
    if batch.is_active or batch.status in _BEFORE_START:
        raise ApiError(
            "not_finished",
            f"Batch {batch_id} has not ended: it is {batch.status}.",
            f"See its progress: GET /api/batches/{batch_id}",
        )
    counts = batch_files.write_results(batch)
    if counts is None:
        raise ApiError(
            "not_found",
            f"Batch {batch_id} has no answers: it never started, or they are older than 30 days.",
            "Make a new batch.",
        )
    return bucket_files.download_link(s3_keys.results(batch_id), "application/jsonl"), counts


def existing_batch(batch_id: str, owner: str) -> BatchJob:
    """Return the record of a caller's batch.

    Raises:
        ApiError: the caller has no such batch.
    """
    batch = batch_records.get(batch_id)
    if batch is None or batch.owner != owner:
        raise ApiError("not_found", f"You have no batch {batch_id}.", "GET /api/batches lists your batches.")
    return batch


def current_batch(batch_id: str, owner: str) -> BatchJob:
    """Return a caller's batch, updated from its transform job."""
    batch = existing_batch(batch_id, owner)
    return transform_jobs.watch(batch) if batch.is_active else batch


def _live_pointer() -> LivePointer:
    pointer = versions.live()
    if pointer is None:
        raise model_access.no_model_yet_error()
    return pointer


def _endpoint_names() -> dict[str, str]:
    """Return the endpoint's name of each model, by its name in the API."""
    pointer = _live_pointer()
    return {
        name: pointer.version if name == model_access.LIVE_NAME else name
        for name in model_access.loaded_names(pointer)
    }


def _instance(requested: str | None) -> str:
    available = list(environment.read(environment.TransformInstances).transform_tokens_per_second)
    if not available:
        raise ApiError(
            "no_machine_for_batches",
            "None of the instance types that may host the model can run a transform job.",
            "Add one of ml.g5, ml.g6 or ml.g6e to hosting_fallback_instances in cdk.json, and deploy.",
        )
    if requested is not None and requested not in available:
        raise ApiError(
            "unknown_machine",
            f"A batch cannot run on {requested}.",
            f"Choose one of: {', '.join(available)}.",
        )
    return requested or available[0]


def _reserve(batch: BatchJob) -> None:
    """Reserve the most that a batch may cost, also if an earlier start reserved another amount.

    Raises:
        ApiError: the month's limit would be exceeded.
    """
    try:
        with limits.spending_limit("batch"):
            ledger.reserve("batch", batch.batch_id, batch.instance, batch.cost_at_most_usd)
            if batch.cost_at_most_usd is not None:
                ledger.extend_reservation("batch", batch.batch_id, most_usd=batch.cost_at_most_usd)
    except ApiError:
        batch_records.release_batch_slot(batch.batch_id)
        ledger.release_reservation("batch", batch.batch_id)
        raise


def _invoke_start_batch(batch_id: str) -> None:
    try:
        clients.lambdas().invoke(
            FunctionName=environment.read(environment.FunctionNames).start_batch_function,
            InvocationType="Event",
            Payload=json.dumps({"batch_id": batch_id}).encode(),
        )
    except (BotoCoreError, ClientError):
        # Nothing was started, so it can be started again.
        batch_records.move(batch_id, statuses.CHECKED, {statuses.PREPARING})
        batch_records.release_batch_slot(batch_id)
        ledger.release_reservation("batch", batch_id)
        raise


def _checked_message(ignored: list[str]) -> str:
    # In the record as well, because the response to a check that takes long has already sent its headers.
    message = "Checked. It runs, and costs, once it is started."
    if not ignored:
        return message
    return f"{message} Unknown fields are ignored: {request_fields.format_names(ignored)}."


def _has_begun_error(batch: BatchJob) -> ApiError:
    return ApiError(
        "has_begun",
        f"Batch {batch.batch_id} is {batch.status}: its lines can no longer change.",
        "Make a new batch for other lines.",
    )


def _file_changed_error(batch_id: str) -> ApiError:
    return ApiError(
        "file_changed",
        f"The file of batch {batch_id} was uploaded or checked again after its price was computed. "
        "Nothing was spent.",
        f"See its price now: POST /api/batches/{batch_id}/check",
    )


def _too_many_batches_error() -> ApiError:
    return ApiError(
        "too_many_batches",
        f"{batch_records.AT_ONCE} batches are running, the most at the same time.",
        "Start it again when one of them has ended.",
        retry_after_seconds=_RETRY_SECONDS,
        should_retry=False,
    )
