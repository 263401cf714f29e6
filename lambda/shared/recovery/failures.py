"""Explain a failure in words that a person can act on, and find the state at which its run can be resumed."""

import json
import re
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from contracts import resource_names
from shared.aws import clients
from shared.hosting import instances
from shared.items import Failure

LOG_LINES = 20
_LINE_CHARACTERS = 1_000
"""A line may have 1 MB in CloudWatch; an item of the table has 400 KB, a message 256."""
STOPPED = "Stopped"
"""Error name of an execution that a person stopped over the API; the cause says who."""
TOO_MANY_FAILED = "States.ExceedToleratedFailureThreshold"
# The message of the toolkit in SageMaker's framework images for a script that ended without a message.
_SCRIPT_ENDED = re.compile(
    r'ExecuteUserScriptError:\s*ExitCode (?P<code>-?\d+)\s*ErrorMessage "(?P<words>.*?)"?\s*'
    r'(ExtraInfo "(?P<info>[^"]*)"\s*)?(Command ".*)?$',
    re.DOTALL,
)
_SILENT = "The training script ended without a reason"
_KILLED = (
    "The training script was killed, most likely because the instance's memory was full. Choose a smaller "
    "base_model or a larger training_instance"
)
_SILENT_ENDINGS = {"-9": _KILLED, "137": _KILLED}
_QUOTA_NAME = re.compile(r"'([^']+ usage)'")
_JOB_KINDS = {
    # Field of the job's description that names it: the state that runs it, and its CloudWatch log group.
    "TrainingJobName": ("Train", resource_names.TRAINING_LOG),
    "ProcessingJobName": ("Evaluate", resource_names.PROCESSING_LOG),
}
# The state at which a run is resumed, by the state that failed. Earlier states cost nothing and have no
# result worth keeping. A deployment that failed in any state is resumed with the bundle.
_RESUMES_AT = {
    "StageBaseModel": "Preflight",
    "Reserve": "Preflight",
    "Train": "Preflight",
    "Tune": "Preflight",
    "ChooseBest": "ChooseBest",
    "Evaluate": "Evaluate",
    "Gate": "Gate",
    "Register": "Register",
    "Deploy": "Deploy",
    "WaitForEndpoint": "Deploy",
    "SmokeTest": "Deploy",
}
RESUMABLE_STATES = tuple(dict.fromkeys(_RESUMES_AT.values()))
"""States at which a resumed run can enter the state machine."""
_AFTER_A_FAILURE = frozenset(
    {"TrainAgain", "EvaluateAgain", "BeforeNextAttempt", "NextAttempt", "RecordFailure", "Failed"}
)
_KEPT = ("assembled", "trained", "gate", "registered")
_EVENTS_A_CALL = 100


def explain(step: str, error: str, cause: str) -> Failure:
    """Explain why a state failed.

    Args:
        step: the state that the run record names, used if the cause names none.
        error: error name of the Catch, such as `States.TaskFailed`.
        cause: its cause: a SageMaker job's description, a Lambda error, or plain text.
    """
    said = _json(cause)
    for field, (state, log_group) in _JOB_KINDS.items():
        if field in said:
            job = str(said[field])
            return Failure(step=state, error=error, cause=_job_cause(said), log_tail=log_tail(log_group, job))
    if "HyperParameterTuningJobName" in said:
        return Failure(step="Tune", error=error, cause=_job_cause(said))
    if "errorMessage" in said:
        kind = str(said.get("errorType") or error)
        return Failure(step=step, error=kind, cause=str(said["errorMessage"]))
    return Failure(step=step, error=error, cause=_with_cure(error, cause) or "No reason was given.")


def _with_cure(error: str, cause: str) -> str:
    """Add how to raise a quota if it is why a job was refused."""
    if instances.shortage(f"{error} {cause}") != "quota":
        return cause
    named = _QUOTA_NAME.search(cause)
    quota = f'"{named[1]}"' if named else "it"
    return (
        f"{cause} Ask AWS to raise {quota} at {instances.QUOTA_PAGE}, or with: storyloom doctor --fix. "
        "AWS answers within hours or days."
    )


def first_failed_batch(execution_arn: str) -> tuple[str, str] | None:
    """Return error and cause of a failed child of the execution's Distributed Map; None if none failed.

    The Map's own cause is only that too many children failed.
    """
    states = clients.stepfunctions()
    try:
        for run in states.list_map_runs(executionArn=execution_arn)["mapRuns"]:
            failed = states.list_executions(mapRunArn=run["mapRunArn"], statusFilter="FAILED", maxResults=1)[
                "executions"
            ]
            for child in failed:
                described = states.describe_execution(executionArn=child["executionArn"])
                return described.get("error", ""), described.get("cause", "")
    except ClientError as error:
        return TOO_MANY_FAILED, f"A batch failed, and why could not be read: {error}"
    return None


def failure_sentence(failure: Failure) -> str:
    """Return one sentence for the run record, the page and the message."""
    return f"{failure.step} {outcome_words(failure)}: {failure.cause}"


def outcome_words(failure: Failure) -> str:
    """Return whether the run failed or was stopped, in words."""
    return "was stopped" if failure.error == STOPPED else "failed"


def log_tail(log_group: str, job: str) -> str | None:
    """Read the last lines of a job's own CloudWatch log; None if it wrote none.

    If the log cannot be read, the reason is returned instead, because the failure is known without the log.
    """
    client = clients.logs()
    try:
        streams = client.describe_log_streams(logGroupName=log_group, logStreamNamePrefix=f"{job}/")
        lines: list[str] = []
        for stream in streams["logStreams"]:
            events = client.get_log_events(
                logGroupName=log_group,
                logStreamName=stream["logStreamName"],
                limit=LOG_LINES,
                startFromHead=False,
            )
            lines += [event["message"].rstrip()[-_LINE_CHARACTERS:] for event in events["events"]]
    except client.exceptions.ResourceNotFoundException:
        return None
    except ClientError as error:
        return f"(the job's log could not be read: {error.response['Error']['Message']})"
    return "\n".join(lines[-LOG_LINES:]) or None


def _job_cause(job: dict[str, Any]) -> str:
    # A processing job's reason is its exit message; its FailureReason only refers to the log.
    reason = job.get("ExitMessage") or job.get("FailureReason")
    status = job.get("TrainingJobStatus") or job.get("ProcessingJobStatus") or "Failed"
    return _without_command(str(reason or f"The job ended as {status} and gave no reason."))


def _without_command(reason: str) -> str:
    """Remove the command line that the toolkit adds to a script's last message."""
    ended = _SCRIPT_ENDED.search(reason)
    if ended is None:
        return reason
    words = ended["info"] or ended["words"].strip() or _SILENT_ENDINGS.get(ended["code"], _SILENT)
    return f"{reason[: ended.start()]}{words} (exit code {ended['code']})"


def _json(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


class FailedState(NamedTuple):
    """A state that failed, and how its run is resumed."""

    name: str
    resumes_at: str
    kept: dict[str, Any]
    """The results of earlier states, by their place in the state machine's data."""


def failed_state(execution_arn: str) -> FailedState | None:
    """Read where an execution failed; None if it cannot be resumed there, or its history is deleted.

    Step Functions keeps the history for 90 days after the execution's end.
    """
    client = clients.stepfunctions()
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn,
        reverseOrder=True,
        PaginationConfig={"PageSize": _EVENTS_A_CALL},
    )
    try:
        for page in pages:
            for event in page["events"]:
                entered = event.get("stateEnteredEventDetails")
                if entered is None or entered["name"] in _AFTER_A_FAILURE:
                    continue
                return _failed_state_of(entered["name"], json.loads(entered.get("input") or "{}"))
    except client.exceptions.ExecutionDoesNotExist:
        return None
    return None


def _failed_state_of(name: str, given: dict[str, Any]) -> FailedState | None:
    at = _RESUMES_AT.get(name)
    if at is None:
        return None
    return FailedState(name, at, {key: given[key] for key in _KEPT if key in given})


def resume_command(run_id: str) -> str:
    """Return the command that resumes a failed run."""
    return f"storyloom start --from {run_id}"
