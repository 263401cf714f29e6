"""Record why a run failed, in plain words, release its lock, and notify the owner with the same words.

Every failure ends here. The status of the run's version does not change: only the smoke test marks a
version as `failed`, if the version is to blame.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from contracts import statuses
from shared import notifications
from shared.items import Failure, Run
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
    """Record a failure. Calling this twice for one run changes and sends nothing more.

    Args:
        event: the state machine's Catch, `{"run_id", "failure": {"Error", "Cause"}}`, or EventBridge's
            `Step Functions Execution Status Change` for an execution that ended where no Catch runs.
        context: Lambda's.

    Returns:
        `{"run_id", "message"}`
    """
    if event.get("detail-type") == _STATUS_CHANGE:
        run_id = run_records.id_of(str(event["detail"]["name"]))
        return {"run_id": run_id, "message": _record_ended_execution(run_id, event["detail"])}
    run_id = event["run_id"]
    run = run_records.get(run_id)
    failed = _failed_state(run)
    failure = failures.explain(_step(run, failed), *_error_and_cause(run, event["failure"]))
    return {"run_id": run_id, "message": _record(run_id, run, failure, can_resume=failed is not None)}


def _record_ended_execution(run_id: str, detail: dict[str, Any]) -> str:
    """Record an execution that ended without a Catch; returns the message, empty if there is no failure."""
    status = detail["status"]
    if status not in _ENDINGS:
        return ""
    run = run_records.get(run_id)
    if run is not None and run.attempt > run_records.attempt_of(str(detail["name"])):
        # A late event of an execution that failed before its run was resumed.
        return ""
    failed = _failed_state(run)
    step, error = _step(run, failed), detail.get("error") or status
    if detail.get("cause"):
        failure = failures.explain(step, error, detail["cause"])
    else:
        failure = Failure(step=step, error=error, cause=_ENDINGS[status])
    return _record(run_id, run, failure, can_resume=failed is not None)


def _record(run_id: str, run: Run | None, failure: Failure, *, can_resume: bool) -> str:
    """Record a failure, release the lock and notify the owner; returns the message of the run's record.

    Args:
        run_id: the run.
        run: its record as it was read; None if it had none.
        failure: why it failed.
        can_resume: whether it can be resumed.
    """
    message = failures.failure_sentence(failure)
    if can_resume:
        message = f"{message} To resume it where it failed: {failures.resume_command(run_id)}"
    facts = {"step": failure.step, "failure": failure.model_dump(), "can_resume": can_resume}
    newly = run_records.finish(run_id, statuses.FAILED, message, **facts)
    lock.release_lock_and_reschedule(run_id)
    if not newly:
        # The end of the execution was reported as well as caught; the first record stays.
        if run is None or run.is_active:
            run = run_records.get(run_id)
        if run is None or run.status != statuses.FAILED:
            return run.message or "" if run else ""
        failure, message = run.failure or failure, run.message or message
    lines = [message, "", f"Run: {run_id}", f"Step: {failure.step}", f"Error: {failure.error}"]
    if failure.log_tail:
        lines += ["", "The last lines of the job's log:", failure.log_tail]
    subject = f"Storyloom: a run {failures.outcome_words(failure)} in {failure.step}"
    notifications.send_once(run_id, subject, "\n".join(lines))
    if newly:
        reason = {"step": failure.step, "error_name": failure.error, "reason": message}
        log.error("The run failed", extra={"run_id": run_id, **reason})
    return message


def _failed_state(run: Run | None) -> FailedState | None:
    """Return the state to resume at; None if there is none, or the history cannot be read now."""
    if run is None or not run.execution_arn:
        return None
    try:
        return failures.failed_state(run.execution_arn)
    except ClientError as error:
        log.warning("Could not read the execution's history", extra={"run_id": run.run_id}, exc_info=error)
        return None


def _error_and_cause(run: Run | None, caught: dict[str, str]) -> tuple[str, str]:
    """Return the error and cause of the Catch, or for the Distributed Map those of its failed child."""
    error, cause = caught.get("Error", ""), caught.get("Cause", "")
    if error == failures.TOO_MANY_FAILED and run is not None and run.execution_arn:
        return failures.first_failed_batch(run.execution_arn) or (error, cause)
    return error, cause


def _step(run: Run | None, failed: FailedState | None) -> str:
    """Return the state that failed: functions record theirs, and Step Functions has those of the jobs."""
    if failed is not None:
        return failed.name
    return run.step if run is not None and run.step else "Begin"
