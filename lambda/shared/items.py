"""Typed items of the table. Times are UTC text (`shared.clock`); perplexities have no unit."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.statuses import (
    ACTIVE_BATCH_STATUSES,
    ACTIVE_RUN_STATUSES,
    ASLEEP,
    ApprovalAnswer,
    BatchStatus,
    HostingStatus,
    RunStatus,
    VersionStatus,
)
from shared import clock
from shared.clock import Utc

LONGEST_KEY_DAYS = 365
"""No API key works for longer."""
KeyScope = Literal["chat", "read", "write"]
"""What a program may do: chat with the model, read runs, versions and stories, or change them."""
Shortage = Literal["capacity", "quota"]
"""Why no instance can be had: AWS has none free, or the account's quota is used up."""


class _Item(BaseModel):
    # A newer deployment may have added attributes; an older function must still read the item.
    model_config = ConfigDict(extra="ignore")


class Failure(_Item):
    """Why a run failed, in words that a person can act on."""

    step: str
    """The state that failed."""
    error: str
    """The name of its error."""
    cause: str
    """The reason."""
    log_tail: str | None = None
    """The last lines of the failed job's own log."""


class Run(_Item):
    """One run of the pipeline."""

    run_id: str
    status: RunStatus
    step: str | None = None
    message: str | None = None
    started_at: Utc | None = None
    ended_at: Utc | None = None
    execution_arn: str | None = None
    attempt: int = 1
    """How many executions it has had: more than one if it failed and was resumed."""
    can_resume: bool = False
    """Whether it failed in a state at which it can be resumed."""
    unchanged: bool = False
    """Whether it ended before its training because nothing had changed since the last run that trained."""
    reason: str | None = None
    started_by: str | None = None
    """Id of the person in the user pool, or `key:<id>`; None if new stories or a schedule started it."""
    waits_until: Utc | None = None
    """If it waits for approval, when it ends by itself without an answer."""
    files: int | None = None
    files_from_cache: int | None = None
    """How many of `files` had not changed and were not read again."""
    stories: int | None = None
    words: int | None = None
    dataset_digest: str | None = None
    """Digest of the dataset and of everything else that affects the training."""
    training_job: str | None = None
    processing_job: str | None = None
    tuning_job: str | None = None
    """Name of the tuning job if the run was resumed at its search; the first is named by the run."""
    base_perplexity: float | None = None
    tuned_perplexity: float | None = None
    live_perplexity: float | None = None
    version: str | None = None
    adapter_sha256: str | None = None
    failure: Failure | None = None

    @property
    def is_active(self) -> bool:
        """Whether the run has not ended yet."""
        return self.status in ACTIVE_RUN_STATUSES


class Approval(_Item):
    """An approval before training: the question and its answer. Only `task_token` lets the run continue."""

    run_id: str
    task_token: str = Field(repr=False)
    """Step Functions' token; never shown and never logged."""
    answer: ApprovalAnswer | None = None
    reviewer: str | None = None
    """Id of the person in the user pool, or `key:<id>`; None if new stories superseded the run."""
    reviewer_name: str | None = None
    """The name of that person or key at that time."""
    answered_at: Utc | None = None
    delivered_at: Utc | None = None
    """When Step Functions received the answer."""
    told_at: Utc | None = None
    """When the owner was notified."""


class Lock(_Item):
    """The lock of the pipeline: the run that this item names is the active one."""

    run_id: str
    execution_arn: str
    acquired_at: Utc
    pending: bool = False
    """Whether stories arrived meanwhile, so that another run follows."""
    wanted_version: str | None = None
    """The version whose deployment was queued meanwhile; a run that deploys it follows."""


class ModelVersion(_Item):
    """One trained adapter: what it was trained on, how good it is, and its status."""

    version: str
    run_id: str
    status: VersionStatus
    adapter_uri: str
    adapter_sha256: str
    model_package_arn: str | None = None
    base_model: str
    base_revision: str
    base_perplexity: float | None = None
    tuned_perplexity: float | None = None
    live_perplexity: float | None = None
    decision: str | None = None
    """The gate's decision, in words."""
    stories: int | None = None
    words: int | None = None
    training_job: str | None = None
    created_at: Utc
    decided_by: str | None = None
    """Id in the user pool of the person who approved or rejected it here, or `key:<id>`."""
    decided_by_name: str | None = None
    """The name of that person or key at that time."""
    decided_at: Utc | None = None

    @property
    def number(self) -> int:
        """The number of the version: 12 of `v12`."""
        return int(self.version.removeprefix("v"))


class LivePointer(_Item):
    """The live version, and the one before it."""

    version: str
    previous: str | None = None
    bundle_uri: str
    merged: bool = False
    """Whether the bundle contains only this version: neither `previous` nor the base can answer."""
    adapter_sha256: str
    updated_at: Utc


class HostingState(_Item):
    """The state of the endpoint as the table has it; the endpoint manager corrects it."""

    status: HostingStatus = ASLEEP
    version: str | None = None
    endpoint_config: str | None = None
    requested: str | None = None
    """The endpoint configuration that SageMaker last accepted for the endpoint."""
    since: Utc | None = None
    last_used_at: Utc | None = None
    sleep_by: Utc | None = None
    """When Step Functions deletes the endpoint, unless this is moved (`stacks/chat/endpoint_guard.py`)."""
    message: str | None = None
    wake_seconds: float | None = None
    """How long the last waking took, the best estimate of the next one."""
    tried: dict[str, Shortage] = {}
    """Instance types that could not be had since this waking began, with the reason."""


class ApiKey(_Item):
    """A program's key; only its creator knows its text."""

    key_id: str
    secret_sha256: str = Field(repr=False)
    """Never shown and never logged."""
    name: str
    scopes: list[KeyScope]
    requests_per_minute: int
    created_by: str
    """`sub` of its creator: the key works only as long as that person has access."""
    created_by_email: str = ""
    """The person's e-mail address at that time."""
    created_at: Utc
    expires_at: Utc | None = None
    """None for a key of an earlier release, which has no expiry: see `ends_at`."""
    revoked_at: Utc | None = None
    """When it was revoked; None if it was not."""
    last_used_on: str | None = None
    """The day (UTC), as `2026-09-30`."""

    @property
    def ends_at(self) -> Utc:
        """When it expires; a key that was created without an expiry is valid for a year."""
        if self.expires_at is not None:
            return self.expires_at
        return clock.text(clock.instant(self.created_at) + timedelta(days=LONGEST_KEY_DAYS))


class Meter(_Item):
    """The state of the endpoint's meter: what is counted, and what is reserved (`shared.spending.meter`)."""

    revision: int = 0
    """Increases by one with each change."""
    counted_until: Utc | None = None
    """The watermark: all costs up to this time are in the ledger."""
    fleets: dict[str, int] = {}
    """Number of instances at that time, by instance type."""
    deletion_at: Utc | None = None
    """When their deletion was about to be requested; if the next observation finds none, they ended then."""
    planned: dict[str, int] = {}
    """Instances that were requested in addition and have not been observed yet."""
    planned_at: Utc | None = None
    accepted: bool = False
    """Whether SageMaker accepted the request for them."""
    lease_until: Utc | None = None
    """When the reservation for all these instances ends."""
    lease: int = 0
    """The reservation, in micro-dollars."""
    lease_day: str | None = None
    lease_instance: str | None = None
    """The ledger entry that has the reservation."""


class BatchJob(_Item):
    """A batch: a file of prompts that one transform job answers (`shared.batch_inference.batch_records`)."""

    batch_id: str
    status: BatchStatus
    owner: str
    """`sub` of its creator; nobody else sees it."""
    created_by: str
    """The e-mail address of its owner at that time, and the API key if a program created it."""
    created_at: Utc
    since: Utc
    """When it entered this status."""
    name: str
    """The owner's name for the file of prompts."""
    model: str
    """The model for lines that name none, as the API calls it."""
    max_tokens: int
    """The maximum length of an answer whose line sets none."""
    instance: str
    message: str | None = None
    check_id: str = ""
    """The current check of its file: each check writes its requests below a prefix of its own."""
    file_etag: str | None = None
    """S3's ETag of the file that the check read."""
    lines: int | None = None
    lines_a_part: int | None = None
    version: str | None = None
    """The version that was live when the lines were checked, and whose bundle answers."""
    bundle_uri: str | None = None
    answer_tokens: int | None = None
    """Tokens of all answers together if each has its maximum length."""
    minutes_estimate: float | None = None
    cost_estimate_usd: float | None = None
    """None if the instance's price is not known."""
    longest_minutes: float | None = None
    """The job is stopped after this time."""
    cost_at_most_usd: float | None = None
    price_date: str | None = None
    job_name: str | None = None
    started_at: Utc | None = None
    """When SageMaker began to bill it."""
    ended_at: Utc | None = None
    expires_at: int = 0
    """When the table deletes it, in seconds since 1970."""

    @property
    def is_active(self) -> bool:
        """Whether an instance works for it, or soon will."""
        return self.status in ACTIVE_BATCH_STATUSES
