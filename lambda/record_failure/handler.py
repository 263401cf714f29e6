"""The one failure path: the reason in plain words, the lock freed, the owner told with the same words.

The run's version stays as it is: the smoke test alone marks one `failed`, if the version is to blame.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from shared import notifications
from shared.items import Failure
from shared.recovery import failures
from shared.recovery.failures import FailedState
from shared.runs import lock, run_records

log = Logger(service="record_failure")

_STATUS_CHANGE = "Step Functions Execution Status Change"
_ENDINGS = {
    "ABORTED": "Somebody stopped the run.",
    "TIMED_OUT": "The run took longer than a run may.",
    "FAILED": "The run failed.",
}


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Record why a run failed. Calling it twice for one run changes and tells nothing more.

    Args:
        event: the state machine's Catch, `{"run_id", "failure": {"Error", "Cause"}}`, or EventBridge's
            `Step Functions Execution Status Change` for an execution that ended where no Catch runs.
        context: Lambda's.

    Returns:
        `{"run_id", "message"}`
    """
    if event.get("detail-type") == _STATUS_CHANGE:
        detail = event["detail"]
        if detail["status"] not in _ENDINGS:
            return {"run_id": run_records.id_of(str(detail["name"])), "message": ""}
        run_id = run_records.id_of(str(detail["name"]))
        if _is_earlier(run_id, detail):
            return {"run_id": run_id, "message": ""}
        failed = _failed_state(run_id)
        failure = _ending(_step(run_id, failed), detail)
    else:
        run_id = event["run_id"]
        failed = _failed_state(run_id)
        failure = failures.explain(_step(run_id, failed), *_error_and_cause(run_id, event["failure"]))
    return {"run_id": run_id, "message": _record(run_id, failure, can_go_on=failed is not None)}


def _record(run_id: str, failure: Failure, *, can_go_on: bool) -> str:
    message = failures.failure_sentence(failure)
    if can_go_on:
        message = f"{message} To go on where it failed: {failures.resume_command(run_id)}"
    facts = {"step": failure.step, "failure": failure.model_dump(), "can_resume": can_go_on}
    newly = run_records.finish(run_id, "failed", message, **facts)
    lock.release_lock_and_reschedule(run_id)
    run = run_records.get(run_id)
    if run is None or run.status != "failed":
        # The execution's end was announced as well as caught; the record of the catch stays.
        return run.message or "" if run else ""
    told = run.failure or failure
    letter = [run.message or message, "", f"Run: {run_id}", f"Step: {told.step}", f"Error: {told.error}"]
    if told.log_tail:
        letter += ["", "The last lines of the job's log:", told.log_tail]
    subject = f"Storyloom: a run {failures.outcome_words(told)} in {told.step}"
    notifications.send_once(run_id, subject, "\n".join(letter))
    if newly:
        reason = {"step": told.step, "error_name": told.error, "reason": run.message}
        log.error("The run failed", extra={"run_id": run_id, **reason})
    return run.message or message


def _is_earlier(run_id: str, detail: dict[str, Any]) -> bool:
    """Whether this is a late event of an execution that failed before its run was resumed."""
    run = run_records.get(run_id)
    return run is not None and run.attempt > run_records.attempt_of(str(detail["name"]))


def _failed_state(run_id: str) -> FailedState | None:
    """Return the state to resume at; None if there is none, or the history cannot be read now."""
    run = run_records.get(run_id)
    try:
        return failures.failed_state(run.execution_arn) if run is not None and run.execution_arn else None
    except ClientError as error:
        log.warning("The execution's history could not be read", extra={"run_id": run_id}, exc_info=error)
        return None


def _ending(step: str, detail: dict[str, Any]) -> Failure:
    words = _ENDINGS[detail["status"]]
    if detail.get("cause"):
        return failures.explain(step, detail.get("error") or detail["status"], detail["cause"])
    return Failure(step=step, error=detail.get("error") or detail["status"], cause=words)


def _error_and_cause(run_id: str, caught: dict[str, str]) -> tuple[str, str]:
    """What the Catch says; for the Distributed Map, what its failed child says."""
    error, cause = caught.get("Error", ""), caught.get("Cause", "")
    run = run_records.get(run_id)
    if error == failures.TOO_MANY_FAILED and run is not None and run.execution_arn:
        return failures.first_failed_batch(run.execution_arn) or (error, cause)
    return error, cause


def _step(run_id: str, failed: FailedState | None) -> str:
    """Return the state that failed: functions record theirs, and Step Functions has those of the jobs."""
    if failed is not None:
        return failed.name
    run = run_records.get(run_id)
    return run.step if run is not None and run.step else "Begin"
