"""Starting a run by hand, stopping one, and taking one up again that failed."""

import json
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StrictBool

from chat_api.dependencies import limits, spending
from chat_api.dependencies.errors import ApiError, refusals
from chat_api.dependencies.identity import MayWrite
from chat_api.routes.approval import RunId
from contracts import environment
from shared import notifications
from shared.aws import clients
from shared.items import Run
from shared.recovery import failures
from shared.runs import run_records

router = APIRouter(tags=["Pipeline"], responses=refusals())


class WantedRun(BaseModel):
    """A run that somebody starts by hand."""

    model_config = ConfigDict(extra="forbid")

    again: StrictBool = False
    """Train also if stories and settings are those of the last run that trained."""


class Started(BaseModel):
    """What came of the wish for a run."""

    started: bool
    """False where a run is going: one more follows it."""
    run_id: str
    """The run that is going now."""
    message: str


class Stopping(BaseModel):
    """A run that is being stopped; its record says so when it has ended."""

    run_id: str
    message: str


@router.post("/runs", status_code=202, responses=refusals(402, 422))
def start(user: MayWrite, wanted: WantedRun | None = None) -> Started:
    """Start a run with all stories, without waiting for new ones. While one is going, one more follows it.

    If nothing has changed since the last run that trained, it ends before anything is paid for, unless
    `again` is true.
    """
    spending.require_run()
    limits.admit_run(user.account)
    again = wanted is not None and wanted.again
    call = {"reason": f"{user.called} started it", "by": user.sub, "again": again}
    started = Started.model_validate(ask_for_run(call))
    user.changed_object = started.run_id
    return started


@router.post("/runs/{run_id}/resume", status_code=202, responses=refusals(402, 404, 409, 422))
def resume(run_id: RunId, user: MayWrite) -> Started:
    """Take a failed run up again where it failed: what it made until then, a training above all, is kept."""
    if run_records.get(run_id) is None:
        raise ApiError(404, "not_found", f"There is no run {run_id}.", "GET /api/runs lists the runs.")
    limits.admit_run(user.account)
    outcome = ask_for_run({"resume": run_id, "reason": f"{user.called} took it up again"})
    if outcome.get("code"):
        notifications.send_monthly("run", f"{outcome['message']} {outcome['cure']}")
        raise ApiError(402, outcome["code"], outcome["message"], outcome["cure"])
    if outcome.get("refused"):
        raise ApiError(409, "cannot_resume", outcome["message"], f"Look at the run: GET /api/runs/{run_id}")
    return Started.model_validate(outcome)


@router.post("/runs/{run_id}/stop", status_code=202, responses=refusals(404, 409, 422))
def stop(run_id: RunId, user: MayWrite) -> Stopping:
    """Stop a run that is going: its job ends too, and what it has made so far is kept."""
    run = run_records.get(run_id)
    if run is None:
        raise ApiError(404, "not_found", f"There is no run {run_id}.", "GET /api/runs lists the runs.")
    if not run.is_active:
        raise _has_ended(run)
    client = clients.stepfunctions()
    try:
        # The end of the execution has the rest done: the record, the lock, the message to the owner.
        client.stop_execution(
            executionArn=run.execution_arn or _execution_arn(run_id),
            error=failures.STOPPED,
            cause=f"{user.called} stopped the run.",
        )
    except client.exceptions.ExecutionDoesNotExist:
        raise _has_ended(run) from None
    return Stopping(run_id=run_id, message=f"Run {run_id} is being stopped.")


def ask_for_run(call: dict[str, Any]) -> dict[str, Any]:
    """Call start_run, which starts a run or notes that one is owed; returns what it says."""
    answer = clients.lambdas().invoke(
        FunctionName=environment.read(environment.Api).start_run_function, Payload=json.dumps(call).encode()
    )
    said: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise RuntimeError(f"start_run failed: {said.get('errorMessage')}")
    return said


def _execution_arn(run_id: str) -> str:
    """Where a run's record has none: the execution is named by its run."""
    machine = environment.read(environment.Api).state_machine_arn
    return f"{machine.replace(':stateMachine:', ':execution:')}:{run_id}"


def _has_ended(run: Run) -> ApiError:
    return ApiError(
        409,
        "has_ended",
        f"Run {run.run_id} has ended: there is nothing to stop.",
        f"Look at how it ended: GET /api/runs/{run.run_id}",
    )
