"""Turns what Step Functions and SageMaker say of a failure into words a person can act on."""

import json
import re
from typing import Any

from botocore.exceptions import ClientError

from contracts import resource_names
from shared.aws import clients
from shared.hosting import capacity
from shared.table.items import Failure

LOG_LINES = 20
_LINE_CHARACTERS = 1_000
"""A line may have 1 MB in CloudWatch; an item of the table has 400 KB, a message 256."""
STOPPED = "Stopped"
"""Error name of an execution that a person stopped over the API; the cause says who."""
TOO_MANY_FAILED = "States.ExceedToleratedFailureThreshold"
# What the toolkit of SageMaker's framework images says of a script that ended without a word of its own.
_SCRIPT_ENDED = re.compile(
    r'ExecuteUserScriptError:\s*ExitCode (?P<code>-?\d+)\s*ErrorMessage "(?P<words>.*?)"?\s*'
    r'(ExtraInfo "(?P<info>[^"]*)"\s*)?(Command ".*)?$',
    re.DOTALL,
)
_SILENT = "The training script ended without saying why"
_KILLED = (
    "The training script was killed, most likely because the instance's memory was full. Choose a smaller "
    "base_model or a larger training_instance"
)
_SILENT_ENDINGS = {"-9": _KILLED, "137": _KILLED}
_QUOTA = re.compile(r"'([^']+ usage)'")
_JOBS = {
    # Field of the job's description that names it: the state that runs it, and its CloudWatch log group.
    "TrainingJobName": ("Train", resource_names.TRAINING_LOG),
    "ProcessingJobName": ("Evaluate", resource_names.PROCESSING_LOG),
}


def explain(step: str, error: str, cause: str) -> Failure:
    """Say why a state failed.

    Args:
        step: state that the run record names, used where the cause does not tell.
        error: error name of the Catch, for instance `States.TaskFailed`.
        cause: its cause: a SageMaker job's description, a Lambda error, or plain text.
    """
    said = _json(cause)
    for field, (state, log_group) in _JOBS.items():
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
    """Say how to raise a quota if that is what refused a job."""
    if capacity.shortage(f"{error} {cause}") != "quota":
        return cause
    named = _QUOTA.search(cause)
    told = f'"{named[1]}"' if named else "it"
    return (
        f"{cause} Ask AWS to raise {told} at {capacity.QUOTA_PAGE}, or with: storyloom doctor --fix. "
        "AWS answers within hours or days."
    )


def first_failed_batch(execution_arn: str) -> tuple[str, str] | None:
    """Error and cause of a failed child of the execution's Distributed Map; None where there is none.

    The Map's own cause says only that too many children failed.
    """
    states = clients.stepfunctions()
    try:
        for run in states.list_map_runs(executionArn=execution_arn)["mapRuns"]:
            failed = states.list_executions(mapRunArn=run["mapRunArn"], statusFilter="FAILED", maxResults=1)[
                "executions"
            ]
            for child in failed:
                told = states.describe_execution(executionArn=child["executionArn"])
                return told.get("error", ""), told.get("cause", "")
    except ClientError as error:
        return TOO_MANY_FAILED, f"A batch failed, and why could not be read: {error}"
    return None


def sentence(failure: Failure) -> str:
    """One sentence for the run record, the page and the message."""
    return f"{failure.step} {ended(failure)}: {failure.cause}"


def ended(failure: Failure) -> str:
    """How the run ended there, in a word or two."""
    return "was stopped" if failure.error == STOPPED else "failed"


def log_tail(log_group: str, job: str) -> str | None:
    """Read the last lines of a job's own CloudWatch log; None where it wrote none.

    The reason of the failure is known without it, so a log that cannot be read does not hide it: the tail
    then says why.
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
    # A processing job's own words are its exit message; its FailureReason only points to the log.
    reason = job.get("ExitMessage") or job.get("FailureReason")
    status = job.get("TrainingJobStatus") or job.get("ProcessingJobStatus") or "Failed"
    return _without_command(str(reason or f"The job ended as {status} and gave no reason."))


def _without_command(reason: str) -> str:
    """Leave out what the toolkit adds to a script's last words: its whole command line."""
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
