"""Batches: many prompts answered at once by a SageMaker transform job, for the price of its machine."""

import json
from typing import Annotated

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from chat_api.dependencies import limits, request_fields, spending
from chat_api.dependencies.errors import ApiError, refusals
from chat_api.dependencies.identity import MayRead, MayWrite, User
from chat_api.dependencies.keep_alive import KeptAliveRoute
from chat_api.dependencies.request_fields import StrictFields
from chat_api.openai.numbers import Positive
from chat_api.routes import completions
from chat_api.services import batch_files, costs, links, prompt_lines, uploads
from chat_api.services.links import UploadForm
from contracts import environment, s3_keys
from shared import clock
from shared.answers import usage
from shared.aws import clients
from shared.batch_inference import batch_records, transform_jobs
from shared.items import BatchJob, BatchStatus, LivePointer
from shared.models import versions
from shared.spending import ledger

log = Logger(service="chat_api")
router = APIRouter(prefix="/batches", tags=["Batches"], responses=refusals(), route_class=KeptAliveRoute)

BatchId = Annotated[str, Path(pattern=r"^\d{8}-\d{6}-[0-9a-f]{4}$")]

_BEFORE_START: frozenset[BatchStatus] = frozenset({"uploading", "checked"})
_RETRY_SECONDS = 60


class WantedBatch(BaseModel):
    """A file of prompts that somebody wants answered."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(
        default="prompts.jsonl",
        min_length=1,
        max_length=256,
        description="The file's own name, without folders, in printable characters.",
        json_schema_extra={"format": "file-name"},
    )
    size: Positive
    """Bytes."""
    model: str = Field(default=completions.LIVE_NAME, max_length=64)
    """Answers the lines that name none: `storyloom` (the live version), a loaded version, or `base`."""
    max_tokens: Positive = 400
    """Of an answer whose line does not say."""
    instance: str | None = Field(default=None, max_length=64)
    """The machine; without it, the first of those that host the model and that transform jobs can have."""


class Batch(BaseModel):
    """A batch, and how far it is."""

    batch_id: str
    status: BatchStatus
    message: str | None
    name: str
    model: str
    version: str | None
    """The version that was live when the lines were checked."""
    max_tokens: int
    instance: str
    lines: int | None
    answered: int
    """Lines whose answers are there; they come in parts of some dozens."""
    created_at: clock.Utc
    since: clock.Utc
    """When it came into this status."""
    started_at: clock.Utc | None
    """From when its machine bills."""
    ended_at: clock.Utc | None
    minutes_estimate: float | None
    cost_estimate_usd: float | None
    """At the price on demand; null where it is not known."""
    longest_minutes: float | None
    """After this it is stopped."""
    cost_at_most_usd: float | None
    cost_usd: float | None
    """Until now."""
    price_date: str | None


class MadeBatch(BaseModel):
    """A new batch, and the form to send its file with."""

    batch: Batch
    upload: UploadForm


class Batches(BaseModel):
    """Your batches, newest first, 50 at most."""

    batches: list[Batch]


class Results(BaseModel):
    """Where the answers of a batch lie, and what came of its lines."""

    url: str
    """A link to the answers, good for an hour: a line each, as OpenAI's batches give them."""
    answered: int
    failed: int
    """Lines without an answer; the file says so in their place."""
    prompt_tokens: int
    completion_tokens: int


@router.get("")
def list_batches(user: MayRead) -> Batches:
    """List your batches."""
    return Batches(batches=[_shown(batch) for batch in batch_records.list_by_owner(user.sub)])


@router.post("", status_code=201, responses=refusals(404, 409, 413, 422))
def make_batch(wanted: WantedBatch, user: MayWrite) -> MadeBatch:
    """Make a batch, and give permission to send its file of prompts, for 15 minutes. Nothing is spent yet."""
    name = uploads.checked_name(wanted.name).rpartition("/")[2]
    if wanted.size > limits.BATCH_BYTES:
        raise ApiError(
            413,
            "file_too_large",
            f"{name} has {wanted.size / 2**20:.0f} MB; a file of prompts may have "
            f"{limits.BATCH_BYTES // 2**20} MB.",
            "Divide it into several files.",
        )
    if wanted.model not in _models():
        raise completions.unknown_model(wanted.model, _live())
    batch = batch_records.create_batch(
        owner=user.sub,
        created_by=user.called,
        name=name,
        model=wanted.model,
        max_tokens=wanted.max_tokens,
        instance=_instance(wanted.instance),
    )
    user.changed_object = batch.batch_id
    bucket, key = environment.common().artifacts_bucket, s3_keys.prompts(batch.batch_id)
    return MadeBatch(batch=_shown(batch), upload=links.upload_form(bucket, key, wanted.size))


@router.get("/{batch_id}", responses=refusals(404, 422))
def one_batch(batch_id: BatchId, user: MayRead) -> Batch:
    """Show one batch: how far it is, what it may cost, and why it failed."""
    return _shown(_now(batch_id, user))


@router.post("/{batch_id}/check", responses=refusals(404, 409, 413, 422))
def check_batch(batch_id: BatchId, user: MayWrite, strict: StrictFields, response: Response) -> Batch:
    """Read the file that was sent, line by line, and say what its answers will take and cost.

    Nothing is spent yet. The first line that cannot be used is refused with its number; send the file again,
    and check it again.
    """
    batch = _own(batch_id, user)
    if batch.status not in _BEFORE_START:
        raise _has_begun(batch)
    live = _live()
    file = batch_files.sent(batch_id)
    if file is None:
        raise ApiError(
            409, "not_uploaded", f"Batch {batch_id} has no file yet.", "Send it with the form of its making."
        )
    chat, context = environment.common().base_model.chat, limits.context_tokens()
    rules = prompt_lines.Rules(_models(), batch.model, batch.max_tokens, chat, context, strict)
    lines = prompt_lines.read(file.content, rules)
    ignored = sorted({name for line in lines for name in line.ignored})
    request_fields.tell_ignored(response, ignored)
    answer_tokens = sum(line.answer_tokens for line in lines)
    price = costs.of_batch(answer_tokens, batch.instance)
    moved = batch_records.move(
        batch_id,
        "checked",
        _BEFORE_START,
        message=_checked(ignored),
        check_id=batch_files.write_requests(batch_id, lines),
        file_etag=file.etag,
        lines=len(lines),
        lines_a_part=batch_files.lines_a_part(len(lines)),
        version=live.version,
        bundle_uri=live.bundle_uri,
        answer_tokens=answer_tokens,
        **price,
    )
    if not moved:
        raise _has_begun(_own(batch_id, user))
    return _shown(_own(batch_id, user))


@router.post("/{batch_id}/start", status_code=202, responses=refusals(402, 404, 409, 422))
def start_batch(batch_id: BatchId, user: MayWrite) -> Batch:
    """Start a batch that has been checked: from here on it costs. Starting it again changes nothing.

    Its answers count in the day's tokens, each as long as it may be.
    """
    batch = _own(batch_id, user)
    if batch.status == "uploading":
        raise ApiError(
            409,
            "not_checked",
            f"Batch {batch_id} has not been checked.",
            f"Send its file, then: POST /api/batches/{batch_id}/check",
        )
    if batch.status == "checked":
        if batch.file_etag and batch_files.etag(batch_id) != batch.file_etag:
            raise _file_changed(batch_id)
        limits.check_day(user.account)
        if not batch_records.acquire_batch_slot(batch_id):
            raise _too_many_batches()
        _reserve(batch)
        message = "The model is packed for the job, unless that has been done lately."
        # What starts is what was read here: its lines and its price are of the same check.
        if batch_records.move(batch_id, "preparing", {"checked"}, only_check=batch.check_id, message=message):
            batch_records.acquire_batch_slot(batch_id)  # the endpoint manager may have looked between the two
            _call_start_batch(batch_id)
            usage.add_tokens(user.account, batch.answer_tokens or 0)
            log.info("Started a batch", extra={"batch_id": batch_id, "by": user.sub, "lines": batch.lines})
    batch = _own(batch_id, user)
    if not batch.is_active:
        # It has ended, or somebody stopped it just now or checked it again.
        batch_records.release_batch_slot(batch_id)
        if batch.job_name is None:  # what a job has cost is the endpoint manager's to settle
            ledger.release_reservation("batch", batch_id)
    if batch.status == "checked":
        raise _file_changed(batch_id)  # it was checked again just now
    return _shown(batch)


@router.post("/{batch_id}/stop", status_code=202, responses=refusals(404, 409, 422))
def stop_batch(batch_id: BatchId, user: MayWrite) -> Batch:
    """Stop a batch: its machine goes. What it has answered is kept."""
    batch = _now(batch_id, user)
    why = f"{user.called} stopped it."
    if batch.status in {"uploading", "checked", "preparing"}:
        if batch_records.finish_batch(batch_id, "stopped", {"uploading", "checked", "preparing"}, why):
            ledger.release_reservation("batch", batch_id)  # no job is made for it any more
        batch = _own(batch_id, user)
    if batch.status == "running" and batch_records.move(batch_id, "stopping", {"running"}, message=why):
        transform_jobs.stop_job(str(batch.job_name))
    elif batch.status in {"completed", "failed"}:
        raise ApiError(
            409,
            "has_ended",
            f"Batch {batch_id} has ended: there is nothing to stop.",
            f"Fetch its answers: GET /api/batches/{batch_id}/results",
        )
    return _shown(_own(batch_id, user))


@router.get("/{batch_id}/results", responses=refusals(404, 409, 422))
def results(batch_id: BatchId, user: MayRead) -> Results:
    """Give a link to the answers of a batch that has ended, also of one that was stopped or failed."""
    batch = _now(batch_id, user)
    if batch.is_active or batch.status in _BEFORE_START:
        raise ApiError(
            409,
            "not_finished",
            f"Batch {batch_id} has not ended: it is {batch.status}.",
            f"Look how far it is: GET /api/batches/{batch_id}",
        )
    tally = batch_files.put_together(batch)
    if tally is None:
        raise ApiError(
            404,
            "not_found",
            f"Batch {batch_id} has no answers: it never began, or they are older than 30 days.",
            "Make a new batch.",
        )
    return Results(url=links.fetch_link(s3_keys.results(batch_id), "application/jsonl"), **vars(tally))


def _own(batch_id: str, user: User) -> BatchJob:
    batch = batch_records.get(batch_id)
    if batch is None or batch.owner != user.sub:
        raise ApiError(
            404, "not_found", f"You have no batch {batch_id}.", "GET /api/batches lists your batches."
        )
    return batch


def _now(batch_id: str, user: User) -> BatchJob:
    """Read a batch as SageMaker sees it now."""
    batch = _own(batch_id, user)
    return transform_jobs.watch(batch) if batch.is_active else batch


def _shown(batch: BatchJob) -> Batch:
    found = {"answered": batch_files.lines_answered(batch), "cost_usd": costs.so_far_usd(batch)}
    return Batch.model_validate(batch.model_dump() | found)


def _live() -> LivePointer:
    pointer = versions.live()
    if pointer is None:
        raise completions.no_model_yet()
    return pointer


def _models() -> dict[str, str]:
    """The names that a line may ask for, and those that the model server knows them by."""
    pointer = _live()
    names = completions.names(pointer)
    return {name: pointer.version if name == completions.LIVE_NAME else name for name in names}


def _instance(wanted: str | None) -> str:
    known = list(environment.read(environment.TransformMachines).transform_tokens_per_second)
    if not known:
        raise ApiError(
            409,
            "no_machine_for_batches",
            "None of the machines that may host the model can have a transform job.",
            "Name one with ml.g5, ml.g6 or ml.g6e in hosting_fallback_instances of cdk.json, and deploy.",
        )
    if wanted is not None and wanted not in known:
        raise ApiError(
            422, "unknown_machine", f"A batch cannot run on {wanted}.", f"Name one of: {', '.join(known)}."
        )
    return wanted or known[0]


def _reserve(batch: BatchJob) -> None:
    """Set aside what a batch costs at most, also if an earlier start left less, or more, set aside.

    Raises:
        ApiError: 402.
    """
    try:
        with spending.payment_required("batch"):
            ledger.reserve("batch", batch.batch_id, batch.instance, batch.cost_at_most_usd)
            if batch.cost_at_most_usd is not None:
                ledger.extend_reservation("batch", batch.batch_id, most_usd=batch.cost_at_most_usd)
    except ApiError:
        batch_records.release_batch_slot(batch.batch_id)
        ledger.release_reservation("batch", batch.batch_id)
        raise


def _call_start_batch(batch_id: str) -> None:
    try:
        clients.lambdas().invoke(
            FunctionName=environment.read(environment.Api).start_batch_function,
            InvocationType="Event",
            Payload=json.dumps({"batch_id": batch_id}).encode(),
        )
    except (BotoCoreError, ClientError):
        # Nobody works on it: it can be started again.
        batch_records.move(batch_id, "checked", {"preparing"})
        batch_records.release_batch_slot(batch_id)
        ledger.release_reservation("batch", batch_id)
        raise


def _checked(ignored: list[str]) -> str:
    # In the record as well: a check that takes long has sent its headers before it knows.
    message = "Checked. It begins, and costs, when it is started."
    return f"{message} Unknown fields are ignored: {request_fields.names(ignored)}." if ignored else message


def _has_begun(batch: BatchJob) -> ApiError:
    return ApiError(
        409,
        "has_begun",
        f"Batch {batch.batch_id} is {batch.status}: its lines are what they are.",
        "Make a new batch for other lines.",
    )


def _file_changed(batch_id: str) -> ApiError:
    return ApiError(
        409,
        "file_changed",
        f"The file of batch {batch_id} was sent or checked again since its price was given. "
        "Nothing was spent.",
        f"See what it takes now: POST /api/batches/{batch_id}/check",
    )


def _too_many_batches() -> ApiError:
    return ApiError(
        429,
        "too_many_batches",
        f"{batch_records.AT_ONCE} batches are running already, the most at the same time.",
        "Start it again when one of them has ended.",
        headers={"Retry-After": str(_RETRY_SECONDS), "x-should-retry": "false"},
    )
