"""Starts a run, unless one is going: then notes that exactly one more is owed.

A run makes a model of all stories; one that is started with a version only has that version answer.
"""

import json
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment
from shared import clock
from shared.aws import clients
from shared.runs import approvals, lock, quiet_period, run_records
from shared.spending.spending_refused import SpendingRefused
from shared.table.items import Lock
from start_run import resuming

log = Logger(service="start_run")

_STARTING_SECONDS = 120
"""For this long after taking the lock a run may have no execution yet."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Start one run of the pipeline, or owe one.

    Args:
        event: `{"reason": words, "due": when the timer fired, "version": what to deploy, "resume": id of a
            failed run, "again": whether to train also on unchanged stories, "by": id of the person or key
            that asks}`, all optional. The run id is made from `due`, so that a call which is delivered
            twice is one run. Without a version the run reads all stories; a failed one goes on where it
            failed.
        context: Lambda's.

    Returns:
        `{"started": bool, "run_id", "message"}`; `run_id` is that of the run going now. If a run cannot be
        resumed, `refused` is true and the message says why; if the month has no money for it, `code` and
        `cure` say so.
    """
    reason = str(event.get("reason") or "started by hand")
    if event.get("resume"):
        outcome = _resume(str(event["resume"]), reason)
        log.info(outcome["message"], extra={"run_id": outcome["run_id"], "started": outcome["started"]})
        return outcome
    due = event.get("due")
    version = event.get("version")
    if due and not version:
        quiet_period.end(due)
    seed = f"{due}{version or ''}"
    run_id = run_records.new_id(clock.instant(due), seed=seed) if due else run_records.new_id(clock.now())
    told = {"reason": reason, "by": event.get("by"), "again": bool(event.get("again"))}
    outcome = _start_or_owe(run_id, told, version)
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
        resuming.reserve(planned)
    except SpendingRefused as refusal:
        lock.drop(run_id)
        refused = {"refused": True, "code": refusal.code, "cure": refusal.cure}
        return _outcome(False, run_id, str(refusal)) | refused
    client = clients.stepfunctions()
    told = {"run_id": run_id, "reason": reason, **planned.data}
    try:
        client.start_execution(
            stateMachineArn=_state_machine_arn(), name=planned.execution_name, input=json.dumps(told)
        )
    except client.exceptions.ExecutionAlreadyExists:
        return _outcome(False, run_id, f"Run {run_id} has been resumed already.")
    except Exception:
        lock.drop(run_id)
        raise
    run_records.reopen(run_id, execution_arn, planned.state, reason)
    run_records.enter(run_id, planned.state, **planned.job_names)
    return _outcome(True, run_id, f"Run {run_id} goes on where it failed: {reason}.")


def _lock_or_other(run_id: str, execution_arn: str) -> str | None:
    """Take the lock for this execution, which may have it already; else return the run in progress."""
    for _ in range(10):
        if lock.acquire(run_id, execution_arn):
            return None
        held = lock.holder()
        if held is None:
            continue
        if held.execution_arn == execution_arn:
            return None
        if _is_going(held):
            return held.run_id
        if lock.take_over(run_id, execution_arn, held, owed=held.pending, wanted_version=held.wanted_version):
            return None
    raise RuntimeError("The run's lock changed hands ten times in a row. Try again.")


def _start_or_owe(run_id: str, wanted: dict[str, Any], version: str | None) -> dict[str, Any]:
    execution_arn = _execution_arn(run_id)
    # The lock may change hands between any two calls; each time round looks afresh.
    for _ in range(10):
        if _has_ended(run_id):
            return _outcome(False, run_id, "This run has been: its call was delivered twice.")
        if lock.acquire(run_id, execution_arn):
            return _execute_or_free(run_id, wanted, version)
        held = lock.holder()
        if held is None:
            continue
        if held.run_id == run_id:
            # Delivered twice. The first delivery may have died before it started the execution.
            return _execute(run_id, wanted, version)
        if _is_going(held):
            queued = _queue(held.run_id, version, again=wanted["again"])
            if queued is not None:
                return queued
        elif _take_over(run_id, execution_arn, held, version):
            log.warning("Took the lock of a run that ended without freeing it", extra={"dead": held.run_id})
            return _execute_or_free(run_id, wanted, version)
    raise RuntimeError("The run's lock changed hands ten times in a row. Start the run again.")


def _take_over(run_id: str, execution_arn: str, dead: Lock, version: str | None) -> bool:
    """Take a dead run's lock, and with it what was owed after that run and is not what this one does."""
    if version is None:
        return lock.take_over(run_id, execution_arn, dead, owed=False, wanted_version=dead.wanted_version)
    return lock.take_over(run_id, execution_arn, dead, owed=dead.pending, wanted_version=None)


def _queue(going: str, version: str | None, *, again: bool) -> dict[str, Any] | None:
    """Queue a deployment or request a rerun after the active run; None if that run has just ended."""
    if version is not None:
        return _deployment_queued(going, version) if lock.queue_deployment(going, version) else None
    return _rerun_requested(going, again) if lock.request_rerun(going) else None


def _deployment_queued(going: str, version: str) -> dict[str, Any]:
    run = run_records.get(going)
    if run is not None and run.status == "waiting":
        return _outcome(
            False,
            going,
            f"Run {going} waits for a yes or a no. {version} answers as soon as that run has ended.",
        )
    return _outcome(False, going, f"Run {going} is going. {version} answers as soon as that run has ended.")


def _rerun_requested(going: str, again: bool) -> dict[str, Any]:
    # What a waiting run asks about is no longer all there is, and it has spent nothing: it makes room.
    if approvals.supersede(going):
        message = "The run that waited for a yes makes room for one with all stories."
    else:
        message = "A run is going; one more will start after it."
    if again:
        message += " That one trains only if something has changed; else ask again when it has ended."
    return _outcome(False, going, message)


def _execute_or_free(run_id: str, wanted: dict[str, Any], version: str | None) -> dict[str, Any]:
    try:
        return _execute(run_id, wanted, version)
    except Exception:
        # Nothing is forgotten: the scheduler calls again, and that run reads every story there is.
        lock.drop(run_id)
        raise


def _execute(run_id: str, wanted: dict[str, Any], version: str | None) -> dict[str, Any]:
    client = clients.stepfunctions()
    told = {"run_id": run_id, **wanted} | ({"version": version} if version else {})
    try:
        client.start_execution(
            stateMachineArn=_state_machine_arn(),
            name=run_id,
            input=json.dumps(told),
        )
    except client.exceptions.ExecutionAlreadyExists:
        return _outcome(False, run_id, "This run has been started: its call was delivered twice.")
    return _outcome(True, run_id, f"Run {run_id} started: {wanted['reason']}.")


def _is_going(held: Lock) -> bool:
    client = clients.stepfunctions()
    try:
        execution = client.describe_execution(executionArn=held.execution_arn)
    except client.exceptions.ExecutionDoesNotExist:
        return clock.seconds_since(held.acquired_at) < _STARTING_SECONDS
    return execution["status"] == "RUNNING"


def _has_ended(run_id: str) -> bool:
    run = run_records.get(run_id)
    return run is not None and not run.going


def _execution_arn(run_id: str) -> str:
    return f"{_state_machine_arn().replace(':stateMachine:', ':execution:')}:{run_id}"


def _state_machine_arn() -> str:
    return environment.read(environment.StateMachine).state_machine_arn


def _outcome(started: bool, run_id: str, message: str) -> dict[str, Any]:
    return {"started": started, "run_id": run_id, "message": message}
