"""The reason of a failed job reaches the run record and the message, once, and the lock is released."""

import contextlib
import json
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from record_failure.handler import handler as record_failure
from shared.aws import clients
from shared.recovery import failures
from shared.runs import lock, run_records
from tests.unit.functions.conftest import DeployedResources, Letters

RUN = "20260903-090000-eeee"
GROUP = "/aws/sagemaker/TrainingJobs"


def _log(job: str, lines: list[str]) -> None:
    client = clients.logs()
    with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
        client.create_log_group(logGroupName=GROUP)
    stream = f"{job}/algo-1-1"
    client.create_log_stream(logGroupName=GROUP, logStreamName=stream)
    events = [{"timestamp": 1_788_000_000_000 + n, "message": line} for n, line in enumerate(lines)]
    client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)  # type: ignore[arg-type]


def _caught(job: str) -> dict[str, Any]:
    cause = {
        "TrainingJobName": job,
        "TrainingJobStatus": "Failed",
        "FailureReason": "AlgorithmError: the training data has no examples, exit code: 1",
    }
    return {"run_id": RUN, "failure": {"Error": "States.TaskFailed", "Cause": json.dumps(cause)}}


def test_a_failed_training_job_shows_the_end_of_its_own_log(
    resources: DeployedResources, context: LambdaContext, letters: Letters
) -> None:
    job = f"{resources.table}-train-{RUN}"
    _log(job, [f"line {number}" for number in range(100)])
    assert lock.acquire(RUN, "arn")
    run_records.enter(RUN, "StageBaseModel")
    told = record_failure(_caught(job), context)
    run = run_records.get(RUN)
    assert run is not None
    assert run.failure is not None
    assert run.status == "failed"
    assert run.step == run.failure.step == "Train"
    assert run.message == told["message"] == f"Train failed: {run.failure.cause}"
    assert "no examples" in run.failure.cause
    assert run.failure.log_tail == "\n".join(f"line {number}" for number in range(80, 100))
    assert lock.holder() is None
    (letter,) = letters()
    assert letter["Subject"] == "Storyloom: a run failed in Train"
    assert run.message in letter["Message"]
    assert "line 99" in letter["Message"]


@pytest.mark.aws_fact
def test_lines_of_a_log_that_no_item_and_no_message_could_hold_are_cut(
    resources: DeployedResources, context: LambdaContext, letters: Letters
) -> None:
    job = f"{resources.table}-train-{RUN}"
    # A progress bar redraws itself without a line feed, so the log has all of it as one line.
    _log(job, ["step \r" * 35_000 + f"step {number} of 3" for number in range(3)])
    run_records.enter(RUN, "StageBaseModel")
    record_failure(_caught(job), context)
    run = run_records.get(RUN)
    assert run is not None
    assert run.failure is not None
    assert run.status == "failed"
    lines = (run.failure.log_tail or "").split("\n")
    assert [line[-11:] for line in lines] == ["step 0 of 3", "step 1 of 3", "step 2 of 3"]
    assert all(len(line) == 1_000 for line in lines)
    (letter,) = letters()
    assert "step 2 of 3" in letter["Message"]


@pytest.mark.parametrize(
    ("toolkit", "told"),
    [
        (
            'ErrorMessage ""\nExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"\n'
            'Command "/usr/bin/python3 train.py --epochs 3"',
            "AlgorithmError: OutOfMemory: Process killed by SIGKILL (signal 9) (exit code -9)",
        ),
        ('ErrorMessage "ValueError: no such \\"x\\" file"\nCommand "python3 train.py --seed 1', "no such"),
        (
            'ErrorMessage ""\nCommand "python3 train.py"',
            "was killed, most likely because the instance's memory",
        ),
    ],
)
def test_the_toolkits_message_is_shown_without_its_command(toolkit: str, told: str) -> None:
    reason = f"AlgorithmError: ExecuteUserScriptError:\nExitCode -9\n{toolkit}, exit code: 1"
    cause = json.dumps({"HyperParameterTuningJobName": "x", "FailureReason": reason})
    failure = failures.explain("Tune", "States.TaskFailed", cause)
    assert told in failure.cause
    assert "Command" not in failure.cause and "train.py" not in failure.cause


def test_the_owner_is_notified_of_a_failure_once(
    resources: DeployedResources, context: LambdaContext, letters: Letters
) -> None:
    run_records.enter(RUN, "Train")
    record_failure(_caught(f"{resources.table}-none"), context)
    record_failure(_caught(f"{resources.table}-none"), context)
    detail = {"name": RUN, "status": "FAILED", "error": "States.TaskFailed", "cause": "other words"}
    record_failure({"detail-type": "Step Functions Execution Status Change", "detail": detail}, context)
    run = run_records.get(RUN)
    assert run is not None
    assert "no examples" in (run.message or "")
    assert len(letters()) == 1


def test_a_run_that_succeeded_stays_so(
    resources: DeployedResources, context: LambdaContext, letters: Letters
) -> None:
    run_records.enter(RUN, "Announce")
    run_records.finish(RUN, "succeeded", "v1 answers and stops.")
    record_failure(_caught("late"), context)
    run = run_records.get(RUN)
    assert run is not None
    assert run.status == "succeeded"
    assert letters() == []


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("error", "cause", "step", "words"),
    [
        (
            "HubError",
            '{"errorType": "HubError", "errorMessage": "It is gated."}',
            "StageBaseModel",
            "It is gated.",
        ),
        ("States.Timeout", "", "Read", "No reason was given."),
        ("States.DataLimitExceeded", "The state is too large.", "Read", "The state is too large."),
        (
            "States.TaskFailed",
            '{"ProcessingJobName": "p", "ExitMessage": "no test stories", "ProcessingJobStatus": "Failed", '
            '"FailureReason": "AlgorithmError: See job logs for more information"}',
            "Evaluate",
            "no test stories",
        ),
        (
            "States.TaskFailed",
            '{"TrainingJobName": "t", "TrainingJobStatus": "Stopped"}',
            "Train",
            "The job ended as Stopped and gave no reason.",
        ),
    ],
)
def test_every_kind_of_cause_becomes_words(
    resources: DeployedResources, error: str, cause: str, step: str, words: str
) -> None:
    failure = failures.explain(step, error, cause)
    assert failure.cause == words
    assert failures.failure_sentence(failure) == f"{step} failed: {words}"
