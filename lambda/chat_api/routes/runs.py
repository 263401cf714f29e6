"""Routes of the runs: list, show, start, resume, stop, approve and decline."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, StrictBool

from chat_api.dependencies.identity import RequireReadScope, RequireWriteScope
from chat_api.dependencies.responses import error_responses
from chat_api.services import run_control, run_history
from contracts import statuses
from shared.items import Run
from shared.runs import run_records

router = APIRouter(prefix="/runs", tags=["Pipeline"], responses=error_responses())

RunId = Annotated[str, Path(pattern=r"^[0-9a-f-]{1,40}$")]


class RunList(BaseModel):
    """The newest runs, newest first, at most 50."""

    runs: list[Run]


class RunDetail(Run):
    """One run with its states, data report and losses, as far as it has them."""

    states: list[run_history.RunState]
    report: dict[str, Any] | None = None
    report_url: str | None = None
    """A link to the data report as a page, valid for an hour."""
    evaluation_url: str | None = None
    """A link to the evaluation of the new model as a page, valid for an hour."""
    metrics: list[run_history.LossMetric] | None = None
    progress: run_history.StepProgress | None = None
    search: run_history.Search | None = None
    """The search of a run with `tune` on."""


class NewRun(BaseModel):
    """A run to start by hand."""

    model_config = ConfigDict(extra="forbid")

    again: StrictBool = False
    """Train although stories and settings are those of the last run that trained."""


class StartedRun(BaseModel):
    """The run that was started, or that is in progress."""

    started: bool
    """False if a run is in progress; another starts when it finishes."""
    run_id: str
    """The run that is in progress now."""
    message: str


class StoppingRun(BaseModel):
    """A run that is being stopped; its record shows when it has ended."""

    run_id: str
    message: str


@router.get("")
def list_runs(user: RequireReadScope) -> RunList:
    """List the newest runs."""
    return RunList(runs=run_records.latest())


@router.get("/{run_id}", responses=error_responses(404, 422))
def get_run(run_id: RunId, user: RequireReadScope) -> RunDetail:
    """Show one run: its states, what it read, and its losses."""
    run = run_control.existing_run(run_id)
    states = run_history.read_states(run.execution_arn) if run.execution_arn else []
    metrics, progress = run_history.read_training_log(run.training_job) if run.training_job else ([], None)
    fields = run.model_dump()
    report = run_history.read_report(run_id)
    if run.is_active and states:
        fields["step"] = states[-1].name
    searches = any(state.name == run_history.SEARCH_STATE for state in states)
    return RunDetail(
        **fields,
        states=states,
        report=report,
        report_url=None if report is None else run_history.report_link(run_id),
        evaluation_url=None if run.base_perplexity is None else run_history.evaluation_link(run_id),
        metrics=metrics or None,
        progress=progress if run.status == statuses.RUNNING else None,
        search=run_history.read_search(run) if searches else None,
    )


@router.post("", status_code=202, responses=error_responses(402, 422))
def start_run(user: RequireWriteScope, new_run: NewRun | None = None) -> StartedRun:
    """Start a run with all stories now. If a run is in progress, another starts when it finishes.

    If nothing has changed since the last run that trained, it ends before anything is paid for, unless
    `again` is true.
    """
    again = new_run is not None and new_run.again
    started = run_control.request_run(user.sub, user.account, user.display_name, again=again)
    user.changed_object = started["run_id"]
    return StartedRun.model_validate(started)


@router.post("/{run_id}/resume", status_code=202, responses=error_responses(402, 404, 409, 422))
def resume_run(run_id: RunId, user: RequireWriteScope) -> StartedRun:
    """Resume a failed run at the state that failed. Its results so far, above all a training, are kept."""
    return StartedRun.model_validate(run_control.request_resume(run_id, user.account, user.display_name))


@router.post("/{run_id}/stop", status_code=202, responses=error_responses(404, 409, 422))
def stop_run(run_id: RunId, user: RequireWriteScope) -> StoppingRun:
    """Stop a run that is in progress, and its job. Its results so far are kept."""
    run_control.stop_execution(run_id, user.display_name)
    return StoppingRun(run_id=run_id, message=f"Run {run_id} is being stopped.")


@router.post("/{run_id}/approve", responses=error_responses(402, 404, 409, 422))
def approve_run(run_id: RunId, user: RequireWriteScope) -> Run:
    """Approve a run that waits: it trains. Approving it again changes nothing."""
    return run_control.answer_approval(run_id, statuses.APPROVED, user.sub, user.display_name)


@router.post("/{run_id}/decline", responses=error_responses(402, 404, 409, 422))
def decline_run(run_id: RunId, user: RequireWriteScope) -> Run:
    """Decline a run that waits: it ends before a GPU is paid for. Declining it again changes nothing."""
    return run_control.answer_approval(run_id, statuses.DECLINED, user.sub, user.display_name)
