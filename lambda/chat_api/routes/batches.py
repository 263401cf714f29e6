"""Routes of the batches: create, check, start and stop one, and fetch its answers."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from chat_api.dependencies.identity import RequireReadScope, RequireWriteScope
from chat_api.dependencies.keep_alive import KeptAliveRoute
from chat_api.dependencies.request_headers import StrictFields, report_ignored_fields
from chat_api.dependencies.responses import error_responses
from chat_api.openai.strict_json import Positive
from chat_api.services import batch_files, batches, costs, model_access
from chat_api.services.bucket_files import UploadForm
from contracts.statuses import BatchStatus
from shared import clock
from shared.batch_inference import batch_records
from shared.items import BatchJob

router = APIRouter(
    prefix="/batches", tags=["Batches"], responses=error_responses(), route_class=KeptAliveRoute
)

BatchId = Annotated[str, Path(pattern=r"^\d{8}-\d{6}-[0-9a-f]{4}$")]


class NewBatch(BaseModel):
    """A file of prompts to answer."""

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
    model: str = Field(default=model_access.LIVE_NAME, max_length=64)
    """The model of lines without one: `storyloom` (the live version), a loaded version, or `base`."""
    max_tokens: Positive = 400
    """The limit of answers to lines without one."""
    instance: str | None = Field(default=None, max_length=64)
    """The instance type; by default the first that hosts the model and can run transform jobs."""


class BatchInfo(BaseModel):
    """A batch, and its progress."""

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
    """The number of answered lines; answers arrive in parts of several dozen."""
    created_at: clock.Utc
    since: clock.Utc
    """When the status changed last."""
    started_at: clock.Utc | None
    """When its instance began to cost."""
    ended_at: clock.Utc | None
    minutes_estimate: float | None
    cost_estimate_usd: float | None
    """At the on-demand price; null if it is not known."""
    longest_minutes: float | None
    """The time after which it is stopped."""
    cost_at_most_usd: float | None
    cost_usd: float | None
    """The cost so far."""
    price_date: str | None


class CreatedBatch(BaseModel):
    """A new batch, and the form to upload its file with."""

    batch: BatchInfo
    upload: UploadForm


class BatchList(BaseModel):
    """Your batches, newest first, at most 50."""

    batches: list[BatchInfo]


class BatchResults(BaseModel):
    """A link to the answers of a batch, and the counts of its lines."""

    url: str
    """A link to the answers, valid for an hour: a line each, in the format of OpenAI's batches."""
    answered: int
    failed: int
    """Lines without an answer; the file contains an error instead."""
    prompt_tokens: int
    completion_tokens: int


@router.get("")
def list_batches(user: RequireReadScope) -> BatchList:
    """List your batches."""
    return BatchList(batches=[_batch_info(batch) for batch in batch_records.list_by_owner(user.sub)])


@router.post("", status_code=201, responses=error_responses(404, 409, 413, 422))
def create_batch(new_batch: NewBatch, user: RequireWriteScope) -> CreatedBatch:
    """Create a batch, and permit the upload of its file of prompts for 15 minutes. Nothing is spent yet."""
    batch = batches.record_batch(
        new_batch.name,
        new_batch.size,
        new_batch.model,
        new_batch.max_tokens,
        new_batch.instance,
        owner=user.sub,
        created_by=user.display_name,
    )
    user.changed_object = batch.batch_id
    upload = batches.prompts_upload_form(batch.batch_id, new_batch.size)
    return CreatedBatch(batch=_batch_info(batch), upload=upload)


@router.get("/{batch_id}", responses=error_responses(404, 422))
def get_batch(batch_id: BatchId, user: RequireReadScope) -> BatchInfo:
    """Show one batch: its progress, its estimated cost, and why it failed."""
    return _batch_info(batches.current_batch(batch_id, user.sub))


@router.post("/{batch_id}/check", responses=error_responses(404, 409, 413, 422))
def check_batch(
    batch_id: BatchId, user: RequireWriteScope, strict: StrictFields, response: Response
) -> BatchInfo:
    """Read the uploaded file line by line, and compute the time and cost of its answers.

    Nothing is spent yet. The error of the first line that cannot be used has its number; upload the file
    again, and check it again.
    """
    batch, ignored = batches.check_prompts(batch_id, user.sub, strict=strict)
    report_ignored_fields(response, ignored)
    return _batch_info(batch)


@router.post("/{batch_id}/start", status_code=202, responses=error_responses(402, 404, 409, 422))
def start_batch(batch_id: BatchId, user: RequireWriteScope) -> BatchInfo:
    """Start a batch that has been checked: from then on it costs. Starting it again changes nothing.

    Its answers count in the day's tokens, each with its greatest length.
    """
    return _batch_info(batches.submit_batch(batch_id, user.sub, user.account))


@router.post("/{batch_id}/stop", status_code=202, responses=error_responses(404, 409, 422))
def stop_batch(batch_id: BatchId, user: RequireWriteScope) -> BatchInfo:
    """Stop a batch and its instance. The answers so far are kept."""
    return _batch_info(batches.end_batch(batch_id, user.sub, user.display_name))


@router.get("/{batch_id}/results", responses=error_responses(404, 409, 422))
def get_batch_results(batch_id: BatchId, user: RequireReadScope) -> BatchResults:
    """Return a link to the answers of a batch that has ended, also of one that was stopped or failed."""
    url, counts = batches.batch_results(batch_id, user.sub)
    return BatchResults(url=url, **vars(counts))


def _batch_info(batch: BatchJob) -> BatchInfo:
    progress = {"answered": batch_files.count_answered(batch), "cost_usd": costs.batch_cost_usd(batch)}
    return BatchInfo.model_validate(batch.model_dump() | progress)
