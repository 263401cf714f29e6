"""Start a run, or request exactly one further run if a run is in progress.

A run trains a model on all stories. A run that is started with a version only deploys that version.
"""

import json
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment, statuses
from shared import clock
from shared.aws import clients
from shared.items import Lock
from shared.runs import approvals, lock, run_records, schedules
from shared.spending.spending_refused import SpendingRefused
from start_run import resuming

log = Logger(service="start_run")

_STARTING_SECONDS = 120
"""How long a run may hold the lock without an execution."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Start a run of the pipeline, or queue it behind the run in progress.

    Args:
        event: `{"reason": text, "due": when the schedule fired, "version": what to deploy, "resume": id of a
            failed run, "again": whether to train even on unchanged stories, "by": id of the person or key
            that asks}`, all optional. The run id is derived from `due`, so that a duplicate call is the same
            run. Without a version the run reads all stories; a failed run continues where it failed.
        context: Lambda's.

    Returns:
        `{"started": bool, "run_id", "message"}`; `run_id` is that of the run in progress. If a run cannot be
        resumed, `refused` is true and the message says why; if the month's limit does not allow it, `code`
        and `cure` are set.
    """
    reason = str(event.get("reason") or "started by hand")
    if event.get("resume"):
        outcome = _resume(str(event["resume"]), reason)
        log.info(outcome["message"], extra={"run_id": outcome["run_id"], "started": outcome["started"]})
        return outcome
    due = event.get("due")
    version = event.get("version")
    if due and not version:
        schedules.end_debounce(due)
    seed = f"{due}{version or ''}"
    run_id = run_records.new_id(clock.instant(due), seed=seed) if due else run_records.new_id(clock.now())
    wanted = {"reason": reason, "by": event.get("by"), "again": bool(event.get("again"))}
    outcome = _start_or_queue(run_id, wanted, version)
    log.info(outcome["message"], extra={"run_id": outcome["run_id"], "started": outcome["started"]})
    return outcome


def _resume(run_id: str, reason: str) -> dict[str, Any]:
    """Start a failed run's next execution, unless any run is in progress."""
    try:
        planned = resuming.plan(run_id)
    except resuming.CannotResume as refusal:
        return {**_outcome(False, run_id, str(refusal)), "refused": True}
    execution_arn = _execution_arn(planned.execution_name)
    other = _lock_or_other(run_id, execution_arn)
    if other is not None:
        words = f"Run {other} is in progress. Resume run {run_id} when it has ended."
        return {**_outcome(False, run_id, words), "refused": True}
    try:
        resuming.reserve_resumption(planned)
    except SpendingRefused as refusal:
        lock.force_release(run_id)
        refused = {"refused": True, "code": refusal.code, "cure": refusal.cure}
        return _outcome(False, run_id, str(refusal)) | refused
    client = clients.stepfunctions()
    execution_input = {"run_id": run_id, "reason": reason, **planned.data}
    try:
        client.start_execution(
            stateMachineArn=_state_machine_arn(),
            name=planned.execution_name,
            input=json.dumps(execution_input),
        )
    except client.exceptions.ExecutionAlreadyExists:
        return _outcome(False, run_id, f"Run {run_id} has already been resumed.")
    except Exception:
        lock.force_release(run_id)
        raise
    run_records.reopen(run_id, execution_arn, planned.state, reason)
    run_records.enter(run_id, planned.state, **planned.job_names)
    return _outcome(True, run_id, f"Run {run_id} resumes where it failed: {reason}.")


def _lock_or_other(run_id: str, execution_arn: str) -> str | None:
    """Acquire the lock for this execution, which may hold it already, or return the run in progress."""
    for _ in range(10):
        if lock.acquire(run_id, execution_arn):
            return None
        held = lock.holder()
        if held is None:
            continue
        if held.execution_arn == execution_arn:
            return None
        if _is_active(held):
            return held.run_id
        if lock.take_over(
            run_id, execution_arn, held, rerun=held.pending, wanted_version=held.wanted_version
        ):
            return None
    raise RuntimeError("The run's lock changed hands ten times in a row. Try again.")


def _start_or_queue(run_id: str, wanted: dict[str, Any], version: str | None) -> dict[str, Any]:
    execution_arn = _execution_arn(run_id)
    # Another run may acquire or release the lock between any two calls, so each iteration reads it again.
    for _ in range(10):
        if _has_ended(run_id):
            return _outcome(False, run_id, "This run has already finished; the duplicate event was ignored.")
        if lock.acquire(run_id, execution_arn):
            return _execute_or_release(run_id, wanted, version)
        held = lock.holder()
        if held is None:
            continue
        if held.run_id == run_id:
            # A duplicate event. The first call may have died before it started the execution.
            return _execute(run_id, wanted, version)
        if _is_active(held):
            queued = _queue(held.run_id, version, again=wanted["again"])
            if queued is not None:
                return queued
        elif _take_over(run_id, execution_arn, held, version):
            log.warning(
                "Took over the lock of a run that ended without releasing it", extra={"dead": held.run_id}
            )
            return _execute_or_release(run_id, wanted, version)
    raise RuntimeError("The run's lock changed hands ten times in a row. Start the run again.")


def _take_over(run_id: str, execution_arn: str, dead: Lock, version: str | None) -> bool:
    """Take over a dead run's lock, and keep its requests for further runs that this run does not fulfil."""
    if version is None:
        return lock.take_over(run_id, execution_arn, dead, rerun=False, wanted_version=dead.wanted_version)
    return lock.take_over(run_id, execution_arn, dead, rerun=dead.pending, wanted_version=None)


def _queue(active: str, version: str | None, *, again: bool) -> dict[str, Any] | None:
    """Queue a deployment or request a rerun after the active run; None if that run has just ended."""
    if version is not None:
        return _deployment_queued(active, version) if lock.queue_deployment(active, version) else None
    return _rerun_requested(active, again) if lock.request_rerun(active) else None


def _deployment_queued(active: str, version: str) -> dict[str, Any]:
    run = run_records.get(active)
    if run is not None and run.status == statuses.WAITING:
        return _outcome(
            False,
            active,
            f"Run {active} waits for approval. {version} is deployed when it has ended.",
        )
    return _outcome(False, active, f"Run {active} is in progress. {version} is deployed when it has ended.")


def _rerun_requested(active: str, again: bool) -> dict[str, Any]:
    # A waiting run asks about some of the stories only, and has spent nothing, so it is superseded.
    if approvals.supersede(active):
        message = "The run that waited for approval is superseded by one with all stories."
    else:
        message = "A run is in progress. Another starts when it finishes."
    if again:
        message += (
            " It trains only if something has changed; otherwise start it again when this one has finished."
        )
    return _outcome(False, active, message)


def _execute_or_release(run_id: str, wanted: dict[str, Any], version: str | None) -> dict[str, Any]:
    try:
        return _execute(run_id, wanted, version)
    except Exception:
        # No story is lost: the scheduler calls again, and that run reads all stories.
        lock.force_release(run_id)
        raise


def _execute(run_id: str, wanted: dict[str, Any], version: str | None) -> dict[str, Any]:
    client = clients.stepfunctions()
    execution_input = {"run_id": run_id, **wanted} | ({"version": version} if version else {})
    try:
        client.start_execution(
            stateMachineArn=_state_machine_arn(),
            name=run_id,
            input=json.dumps(execution_input),
        )
    except client.exceptions.ExecutionAlreadyExists:
        return _outcome(False, run_id, "This run has already started; the duplicate event was ignored.")
    return _outcome(True, run_id, f"Run {run_id} started: {wanted['reason']}.")


def _is_active(held: Lock) -> bool:
    client = clients.stepfunctions()
    try:
        execution = client.describe_execution(executionArn=held.execution_arn)
    except client.exceptions.ExecutionDoesNotExist:
        return clock.seconds_since(held.acquired_at) < _STARTING_SECONDS
    return execution["status"] == "RUNNING"


def _has_ended(run_id: str) -> bool:
    run = run_records.get(run_id)
    return run is not None and not run.is_active


def _execution_arn(run_id: str) -> str:
    return f"{_state_machine_arn().replace(':stateMachine:', ':execution:')}:{run_id}"


def _state_machine_arn() -> str:
    return environment.read(environment.StateMachine).state_machine_arn


def _outcome(started: bool, run_id: str, message: str) -> dict[str, Any]:
    return {"started": started, "run_id": run_id, "message": message}
