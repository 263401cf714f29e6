"""The items of the table, typed. Times are UTC text (`shared.clock`); perplexities have no unit."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared import clock
from shared.clock import Utc

RunStatus = Literal[
    "running",
    "waiting",
    "succeeded",
    "not_better",
    "pending_approval",
    "stopped_early",
    "declined",
    "superseded",
    "failed",
]
"""`waiting`: for somebody's yes before training; that and `running` are going, the others are ends.

`pending_approval`: the run has ended, and its version waits for somebody's yes before it answers.
"""
GOING: frozenset[RunStatus] = frozenset({"running", "waiting"})
ApprovalAnswer = Literal["approved", "declined", "superseded"]
VersionStatus = Literal["pending", "approved", "rejected", "live", "previous", "failed"]
HostingStatus = Literal["asleep", "waking", "awake", "failing"]
LONGEST_KEY_DAYS = 365
"""No API key works for longer."""
KeyScope = Literal["chat", "read", "write"]
"""What a program may do: ask the model, read runs, versions and stories, or change them."""
TransformStatus = Literal[
    "uploading", "checked", "preparing", "running", "stopping", "completed", "failed", "stopped"
]
"""`uploading`: made, its file has not been checked; `checked`: waits for its start, and costs nothing until
then; `preparing`: the model is packed for it; the last three are ends.
"""
TRANSFORM_GOING: frozenset[TransformStatus] = frozenset({"preparing", "running", "stopping"})
Shortage = Literal["capacity", "quota"]
"""Why there is no machine: AWS has none free, or the account may not have one more."""


class _Item(BaseModel):
    # A newer deployment may have added attributes; an older function must still read the item.
    model_config = ConfigDict(extra="ignore")


class Failure(_Item):
    """Why a run failed, in words a person can act on."""

    step: str
    """State that failed."""
    error: str
    """Its error's name."""
    cause: str
    """The reason."""
    log_tail: str | None = None
    """Last lines of the failed job's own log."""


class Run(_Item):
    """One walk of the pipeline."""

    run_id: str
    status: RunStatus
    step: str | None = None
    message: str | None = None
    started_at: Utc | None = None
    ended_at: Utc | None = None
    execution_arn: str | None = None
    attempt: int = 1
    """How often it was started: more than once if it failed and was resumed."""
    can_resume: bool = False
    """Whether it failed at a state at which it can be resumed."""
    unchanged: bool = False
    """Whether it ended before its training because nothing had changed since the last run that trained."""
    reason: str | None = None
    started_by: str | None = None
    """Id of the person in the user pool, or `key:<id>`; None if new stories or a schedule started it."""
    waits_until: Utc | None = None
    """Of a run that asks before it trains: when it ends by itself if nobody answers."""
    files: int | None = None
    files_from_cache: int | None = None
    """Of `files`, how many had not changed and were not read again."""
    stories: int | None = None
    words: int | None = None
    dataset_digest: str | None = None
    """Of the dataset and of everything that decides what a training makes of it."""
    training_job: str | None = None
    processing_job: str | None = None
    tuning_job: str | None = None
    """Name of the tuning job of a run that was resumed at its search; the first is named by the run."""
    base_perplexity: float | None = None
    tuned_perplexity: float | None = None
    live_perplexity: float | None = None
    version: str | None = None
    adapter_sha256: str | None = None
    failure: Failure | None = None

    @property
    def going(self) -> bool:
        """Whether the run has not ended yet."""
        return self.status in GOING


class Approval(_Item):
    """The question whether to train, and its answer. Only who has `task_token` can let the run go on."""

    run_id: str
    task_token: str = Field(repr=False)
    """Step Functions' own; never shown and never logged."""
    answer: ApprovalAnswer | None = None
    answered_by: str | None = None
    """Id of the person in the user pool, or `key:<id>`; None if new stories answered."""
    answered_by_name: str | None = None
    """What that person or key was called then."""
    answered_at: Utc | None = None
    delivered_at: Utc | None = None
    """When Step Functions took the answer."""
    told_at: Utc | None = None
    """When the owner was asked."""


class Lock(_Item):
    """One run at a time: whoever has this item runs."""

    run_id: str
    execution_arn: str
    acquired_at: Utc
    pending: bool = False
    """Stories came meanwhile: one more run is owed."""
    wanted_version: str | None = None
    """Somebody asked meanwhile that this version answers: a run that deploys it is owed."""


class ModelVersion(_Item):
    """One trained adapter: what it was made of, how good it is, and what became of it."""

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
    """The gate's words."""
    stories: int | None = None
    words: int | None = None
    training_job: str | None = None
    created_at: Utc
    decided_by: str | None = None
    """Id in the user pool of the person who approved or rejected it here, or `key:<id>`."""
    decided_by_name: str | None = None
    """What that person or key was called then."""
    decided_at: Utc | None = None

    @property
    def number(self) -> int:
        """Place in the order of versions: 12 of `v12`."""
        return int(self.version.removeprefix("v"))


class LivePointer(_Item):
    """The version that answers, and the one before it."""

    version: str
    previous: str | None = None
    bundle_uri: str
    merged: bool = False
    """The bundle has this version alone: neither `previous` nor the base can be asked."""
    adapter_sha256: str
    updated_at: Utc


class HostingState(_Item):
    """What the endpoint does now, as far as the table knows; the keeper repairs it."""

    status: HostingStatus = "asleep"
    version: str | None = None
    endpoint_config: str | None = None
    requested: str | None = None
    """Endpoint configuration that SageMaker last accepted for the endpoint."""
    since: Utc | None = None
    last_used_at: Utc | None = None
    sleep_by: Utc | None = None
    """When Step Functions deletes the endpoint, unless this is moved (`stacks/chat/endpoint_guard.py`)."""
    message: str | None = None
    wake_seconds: float | None = None
    """How long the last waking took, the best guess for the next one."""
    tried: dict[str, Shortage] = {}
    """Instance types that could not be had since this waking began, and why."""


class ApiKey(_Item):
    """A program's key; its text is known to whoever made it alone."""

    key_id: str
    secret_sha256: str = Field(repr=False)
    """Never shown and never logged."""
    name: str
    scopes: list[KeyScope]
    requests_per_minute: int
    created_by: str
    """`sub` of the person who made it: the key works only as long as that person may come in."""
    created_by_email: str = ""
    """The person's address then."""
    created_at: Utc
    expires_at: Utc | None = None
    """None for a key of an earlier release, which had no end: see `ends_at`."""
    revoked_at: Utc | None = None
    """When it was revoked; None if it was not."""
    last_used_on: str | None = None
    """The day (UTC), as `2026-09-30`."""

    @property
    def ends_at(self) -> Utc:
        """When it ceases to work by itself; a key that was made without an end has a year from its making."""
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
    """Number of machines at that time, by instance type."""
    deletion_at: Utc | None = None
    """When their deletion was about to be requested; if the next observation finds none, they ended then."""
    planned: dict[str, int] = {}
    """Machines that were requested in addition and have not been observed yet."""
    planned_at: Utc | None = None
    lease_until: Utc | None = None
    """When the reservation for all these machines ends."""
    lease: int = 0
    """The reservation, in micro-dollars."""
    lease_day: str | None = None
    lease_instance: str | None = None
    """The ledger entry that has the reservation."""


class Transform(_Item):
    """A batch: many prompts, answered by one transform job (`shared.batch_inference.batch_records`)."""

    batch_id: str
    status: TransformStatus
    owner: str
    """`sub` of who made it; nobody else sees it."""
    created_by: str
    """What its owner was called then: the address, and the API key if a program made it."""
    created_at: Utc
    since: Utc
    """When it came into this status."""
    name: str
    """Of the file of prompts, as its owner calls it."""
    model: str
    """Which model answers the lines that name none, as the API calls it."""
    max_tokens: int
    """Of an answer whose line does not say."""
    instance: str
    message: str | None = None
    check_id: str = ""
    """Which check of its file counts: each writes its requests to a prefix of its own."""
    file_etag: str | None = None
    """S3's ETag of the file that this check read."""
    lines: int | None = None
    lines_a_part: int | None = None
    version: str | None = None
    """The version that was live when the lines were checked: its bundle answers."""
    bundle_uri: str | None = None
    answer_tokens: int | None = None
    """Of all answers together, where each is as long as it may be."""
    minutes_estimate: float | None = None
    cost_estimate_usd: float | None = None
    """None where the machine's price is not known."""
    longest_minutes: float | None = None
    """After this the job is stopped."""
    cost_at_most_usd: float | None = None
    price_date: str | None = None
    job_name: str | None = None
    started_at: Utc | None = None
    """From when SageMaker bills it."""
    ended_at: Utc | None = None
    expires_at: int = 0
    """Seconds since 1970: then the table forgets it."""

    @property
    def going(self) -> bool:
        """Whether a machine works for it, or soon will."""
        return self.status in TRANSFORM_GOING
