"""The runs, the model's state, and waking it."""

from typing import Any, Self

from fastapi import APIRouter
from pydantic import BaseModel

from chat_api.dependencies import limits, spending
from chat_api.dependencies.errors import ApiError, refusals
from chat_api.dependencies.identity import MayChat, MayRead, MayWrite, User
from chat_api.routes import completions
from chat_api.routes.approval import RunId
from chat_api.services import costs, history, trials, waking
from contracts import environment
from shared import clock
from shared.answers import usage
from shared.batch_inference import batch_records
from shared.hosting import endpoint_configs, hosting_state
from shared.items import HostingState, HostingStatus, LivePointer, Run
from shared.models import versions
from shared.runs import run_records

router = APIRouter(tags=["Pipeline"], responses=refusals())


class Hosting(BaseModel):
    """Whether the model answers now."""

    status: HostingStatus
    version: str | None
    since: clock.Utc | None
    message: str | None
    expected_seconds: int | None = None
    """While it wakes: a guess of how long until it answers."""
    instance: str | None = None
    """The machine that hosts it, or is to host it while it wakes."""
    cost_this_month_usd: float | None
    """What everything has cost since the month began (UTC): trainings, evaluations, searches, batches and the
    endpoint. What runs now is counted every five minutes. None if the price of an instance is not known."""
    price_date: str
    """Of what month the price of the machine is; empty if it is not known."""

    def seen_by(self, user: User) -> Self:
        """Return it without what the month has cost, if the caller may not read that."""
        return self if "read" in user.scopes else self.model_copy(update={"cost_this_month_usd": None})


class Live(BaseModel):
    """The version that answers."""

    version: str
    run_id: str
    base_perplexity: float | None
    tuned_perplexity: float | None
    created_at: clock.Utc


class BaseModelName(BaseModel):
    """The open model underneath."""

    name: str
    id: str


class Limits(BaseModel):
    """How much may be asked."""

    messages: int
    """Of a chat."""
    prompt_characters: int
    """Of all messages of a chat together."""
    context_tokens: int
    """Of a chat and its answer together."""
    answers_at_once: int
    """How many may be written for one caller at the same time."""
    requests_per_minute: int | None
    """Of the key that asks; null for a person."""
    upload_bytes: int
    """Of one story file."""
    batch_bytes: int
    """Of a file of prompts."""
    batch_lines: int
    """How many prompts a batch may have."""
    batches_at_once: int
    """Of all people together."""


class Usage(BaseModel):
    """What the caller has used of the day, which begins at midnight UTC."""

    tokens_today: int
    daily_tokens: int
    """How many there may be."""


class Status(BaseModel):
    """Everything the page shows at a glance."""

    hosting: Hosting
    live: Live | None
    run: Run | None
    """The newest run; null also for whoever may not read runs."""
    base_model: BaseModelName
    models: list[str]
    """What can be asked, as `GET /api/v1/models` lists it; empty before the first version."""
    limits: Limits
    usage: Usage


class Runs(BaseModel):
    """The newest runs, newest first, 50 at most."""

    runs: list[Run]


class RunDetail(Run):
    """One run with its states, data report and losses, as far as they are there."""

    states: list[history.State]
    report: dict[str, Any] | None = None
    report_url: str | None = None
    """Where the data report can be read as a page, for an hour."""
    evaluation_url: str | None = None
    """Where the evaluation of the new model can be read as a page, for an hour."""
    metrics: list[history.Metric] | None = None
    progress: history.Progress | None = None
    search: trials.Search | None = None
    """Of a run with `tune` on."""


@router.get("/status", response_model_exclude_none=False)
def status(user: MayChat) -> Status:
    """Say what the model and the newest run are doing."""
    base = environment.common().base_model
    newest = run_records.latest(1)
    pointer = versions.live()
    return Status(
        hosting=_hosting().seen_by(user),
        live=_live(pointer),
        run=_with_step_now(newest[0]) if newest and "read" in user.scopes else None,
        base_model=BaseModelName(name=base.name, id=base.id),
        models=completions.names(pointer) if pointer else [],
        limits=_limits(user),
        usage=Usage(tokens_today=usage.today(user.account).tokens, daily_tokens=limits.daily_tokens()),
    )


@router.post("/wake", status_code=202, responses=refusals(402, 409))
def wake(user: MayChat) -> Hosting:
    """Wake the model, so that it is ready when the message is written.

    Whoever may not ask it any more today may not wake it either.
    """
    limits.check_day(user.account)
    if versions.live() is None:
        raise ApiError(
            409,
            "no_model_yet",
            "There is no model yet to wake.",
            "Add stories; a run starts by itself when the bucket has been quiet for a while.",
        )
    state = hosting_state.state()
    if state.status == "asleep" or (state.status == "failing" and not hosting_state.retry_seconds(state)):
        spending.require_wake(state)
        waking.call_endpoint_manager("wake")
        told = state.model_copy(update={"status": "waking", "since": clock.stamp(), "message": "Waking."})
        return _described(told).seen_by(user)
    return _hosting().seen_by(user)


@router.post("/sleep", status_code=202)
def sleep(user: MayWrite) -> Hosting:
    """Put the model to sleep now, for everybody: its machine goes, and bills no more. A message wakes it."""
    waking.call_endpoint_manager("sleep")
    words = f"{user.called} puts it to sleep; a message wakes it."
    return _described(hosting_state.state().model_copy(update={"status": "asleep", "message": words}))


@router.get("/runs")
def list_runs(user: MayRead) -> Runs:
    """List the newest runs."""
    return Runs(runs=run_records.latest())


@router.get("/runs/{run_id}", responses=refusals(404, 422))
def one_run(run_id: RunId, user: MayRead) -> RunDetail:
    """Show one run: where it is, what it read, how its loss falls."""
    run = run_records.get(run_id)
    if run is None:
        raise ApiError(404, "not_found", f"There is no run {run_id}.", "GET /api/runs lists the runs.")
    states = history.states(run.execution_arn) if run.execution_arn else []
    metrics, progress = history.training_log(run.training_job) if run.training_job else ([], None)
    known = run.model_dump()
    report = history.report(run_id)
    if run.is_active and states:
        known["step"] = states[-1].name
    return RunDetail(
        **known,
        states=states,
        report=report,
        report_url=None if report is None else history.report_link(run_id),
        evaluation_url=None if run.base_perplexity is None else history.evaluation_link(run_id),
        metrics=metrics or None,
        progress=progress if run.status == "running" else None,
        search=trials.of_run(run) if any(state.name == trials.STATE for state in states) else None,
    )


def _with_step_now(run: Run) -> Run:
    """The functions record their own states; while a job trains, only Step Functions knows the state."""
    if not run.is_active or not run.execution_arn:
        return run
    states = history.states(run.execution_arn)
    return run.model_copy(update={"step": states[-1].name}) if states else run


def _limits(user: User) -> Limits:
    context = limits.context_tokens()
    return Limits(
        messages=limits.MESSAGES,
        prompt_characters=limits.prompt_characters(context),
        context_tokens=context,
        answers_at_once=limits.ANSWERS_AT_ONCE,
        requests_per_minute=user.requests_per_minute,
        upload_bytes=limits.UPLOAD_BYTES,
        batch_bytes=limits.BATCH_BYTES,
        batch_lines=limits.BATCH_LINES,
        batches_at_once=batch_records.AT_ONCE,
    )


def _hosting() -> Hosting:
    state = hosting_state.state()
    if state.status == "waking":
        waking.nudge()
    return _described(state)


def _described(state: HostingState) -> Hosting:
    return Hosting(
        status=state.status,
        version=state.version,
        since=state.since,
        message=state.message,
        expected_seconds=waking.expected_seconds(state) if state.status == "waking" else None,
        instance=endpoint_configs.instance_of(state.endpoint_config)
        if state.status in {"waking", "awake"}
        else None,
        cost_this_month_usd=costs.this_month_usd(),
        price_date=costs.hosting_price_month(),
    )


def _live(pointer: LivePointer | None) -> Live | None:
    model = versions.get(pointer.version) if pointer else None
    return Live.model_validate(model.model_dump()) if model else None
