"""Starts a run, unless one is going: then notes that exactly one more is owed."""

import json
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import approvals, aws, clock, environment, lock, runs
from shared.models import Lock

log = Logger(service="start_run")

_STARTING_SECONDS = 120
"""For this long after taking the lock a run may have no execution yet."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Start one run of the pipeline, or owe one.

    Args:
        event: `{"reason": words, "due": when the timer fired}`, both optional. The run id is made from
            `due`, so that a call which the scheduler delivers twice is one run.
        context: Lambda's.

    Returns:
        `{"started": bool, "run_id", "message"}`; `run_id` is that of the run going now.
    """
    reason = str(event.get("reason") or "started by hand")
    due = event.get("due")
    run_id = runs.new_id(clock.instant(due), seed=due) if due else runs.new_id(clock.now())
    outcome = _start_or_owe(run_id, reason)
    log.info(outcome["message"], extra={"run_id": outcome["run_id"], "started": outcome["started"]})
    return outcome


def _start_or_owe(run_id: str, reason: str) -> dict[str, Any]:
    execution_arn = _execution_arn(run_id)
    # The lock may change hands between any two calls; each time round looks afresh.
    for _ in range(10):
        if _has_ended(run_id):
            return _outcome(False, run_id, "This run has been: its call was delivered twice.")
        if lock.acquire(run_id, execution_arn):
            return _execute_or_free(run_id, reason)
        held = lock.holder()
        if held is None:
            continue
        if held.run_id == run_id:
            # Delivered twice. The first delivery may have died before it started the execution.
            return _execute(run_id, reason)
        if _is_going(held):
            if lock.owe_one_more(held.run_id):
                return _owed(held.run_id)
        elif lock.take_over(run_id, execution_arn, held):
            log.warning("Took the lock of a run that ended without freeing it", extra={"dead": held.run_id})
            return _execute_or_free(run_id, reason)
    raise RuntimeError("The run's lock changed hands ten times in a row. Start the run again.")


def _owed(going: str) -> dict[str, Any]:
    # What a waiting run asks about is no longer all there is, and it has spent nothing: it makes room.
    if approvals.supersede(going):
        return _outcome(False, going, "The run that waited for a yes makes room for one with all stories.")
    return _outcome(False, going, "A run is going; one more will start after it.")


def _execute_or_free(run_id: str, reason: str) -> dict[str, Any]:
    try:
        return _execute(run_id, reason)
    except Exception:
        # Nothing is forgotten: the scheduler calls again, and that run reads every story there is.
        lock.drop(run_id)
        raise


def _execute(run_id: str, reason: str) -> dict[str, Any]:
    client = aws.stepfunctions()
    try:
        client.start_execution(
            stateMachineArn=_state_machine_arn(),
            name=run_id,
            input=json.dumps({"run_id": run_id, "reason": reason}),
        )
    except client.exceptions.ExecutionAlreadyExists:
        return _outcome(False, run_id, "This run has been started: its call was delivered twice.")
    return _outcome(True, run_id, f"Run {run_id} started: {reason}.")


def _is_going(held: Lock) -> bool:
    client = aws.stepfunctions()
    try:
        execution = client.describe_execution(executionArn=held.execution_arn)
    except client.exceptions.ExecutionDoesNotExist:
        return clock.seconds_since(held.acquired_at) < _STARTING_SECONDS
    return execution["status"] == "RUNNING"


def _has_ended(run_id: str) -> bool:
    run = runs.get(run_id)
    return run is not None and not run.going


def _execution_arn(run_id: str) -> str:
    return f"{_state_machine_arn().replace(':stateMachine:', ':execution:')}:{run_id}"


def _state_machine_arn() -> str:
    return environment.read(environment.Pipeline).state_machine_arn


def _outcome(started: bool, run_id: str, message: str) -> dict[str, Any]:
    return {"started": started, "run_id": run_id, "message": message}
