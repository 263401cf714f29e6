"""A failed run is resumed where it failed: once, with its results, and only if they still exist."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastapi.testclient import TestClient

from chat_api.app import app
from contracts import s3_keys
from contracts.resource_names import AppNames
from record_failure.handler import handler as record_failure
from resume.handler import handler as resume
from shared.aws import clients
from shared.models import versions
from shared.recovery import attempts, failures
from shared.recovery.failures import FailedState
from shared.runs import lock, run_records
from start_run.handler import handler as start_run
from tests.unit.functions.conftest import DeployedResources, Letters, caller_headers

RUN = "20260907-090000-abcd"
QUOTA = {
    "Error": "SageMaker.ResourceLimitExceededException",
    "Cause": "The account-level service limit 'ml.g6.xlarge for processing job usage' is 0 Instances.",
}


def _kept(resources: DeployedResources) -> dict[str, Any]:
    base = s3_keys.uri(resources.artifacts, s3_keys.base_model("smollm2-135m", "r1"))
    inputs = [
        {"InputName": name, "S3Input": {"S3Uri": uri}}
        for name, uri in (("model", base), ("candidate", "s3://a/old"))
    ]
    jobs = {
        "training_attempt": 1,
        "training_job_name": AppNames("storyloom").training_job(RUN),
        "processing_inputs": inputs,
    }
    jobs = attempts.evaluation_attempt(RUN, jobs, 2, ["ml.g5.xlarge"])
    estimate = {"training_minutes": 6.0}
    return {"assembled": {"jobs": jobs, "ask_before_training": True, "tune": False, "estimate": estimate}}


@pytest.fixture
def failed(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A run that failed in its evaluation, after a paid training; what its states had, to be changed."""
    told: dict[str, Any] = {"name": "Evaluate", "at": "Evaluate", "kept": _kept(resources)}
    monkeypatch.setattr(
        failures, "failed_state", lambda arn: FailedState(told["name"], told["at"], told["kept"])
    )
    arn = f"{resources.state_machine_arn.replace(':stateMachine:', ':execution:')}:{RUN}"
    run_records.create_run(RUN, arn, "stories arrived")
    run_records.finish(RUN, "failed", "Evaluate failed: no.", step="Evaluate", can_resume=True)
    run_records.mark_announced(RUN)
    key = s3_keys.model_archive(RUN, AppNames("storyloom").training_job(RUN))
    clients.s3().put_object(Bucket=resources.artifacts, Key=key, Body=b"model")
    return told


def _start(context: LambdaContext) -> dict[str, Any]:
    return dict(start_run({"resume": RUN, "reason": "writer@example.com took it up again"}, context))


def _executions(resources: DeployedResources) -> list[dict[str, Any]]:
    client = clients.stepfunctions()
    listed = client.list_executions(stateMachineArn=resources.state_machine_arn)["executions"]
    return [dict(client.describe_execution(executionArn=one["executionArn"])) for one in listed]


@pytest.mark.usefixtures("failed")
def test_a_run_resumes_at_its_evaluation_and_is_not_trained_again(
    resources: DeployedResources, context: LambdaContext
) -> None:
    told = _start(context)
    assert told["started"], told
    [execution] = _executions(resources)
    assert execution["name"] == f"{RUN}-2"
    given = json.loads(execution["input"])
    assert given["resume"] == {"state": "Evaluate"}
    assert given["run_id"] == RUN
    jobs = given["assembled"]["jobs"]
    assert jobs["processing_job_name"] == f"storyloom-evaluate-{RUN}-3", "a name that was never used"
    assert jobs["processing_instances"] == ["ml.g6.xlarge", "ml.g5.xlarge"], "those of the settings of now"
    assert jobs["training_job_name"] == f"storyloom-train-{RUN}"
    assert given["assembled"]["ask_before_training"] is False
    run = run_records.get(RUN)
    assert run is not None
    assert (run.status, run.step, run.attempt, run.can_resume) == ("running", "Evaluate", 2, False)
    assert (run.failure, run.ended_at, run.execution_arn) == (None, None, execution["executionArn"])
    assert not run_records.is_announced(RUN), "how it ends the next time is told again"


@pytest.mark.usefixtures("failed")
def test_resuming_twice_is_resuming_once(resources: DeployedResources, context: LambdaContext) -> None:
    assert _start(context)["started"]
    again = _start(context)
    assert (again["started"], again["refused"]) == (False, True)
    assert again["message"] == f"Run {RUN} is in progress: it has not failed."
    assert len(_executions(resources)) == 1


@pytest.mark.usefixtures("failed")
def test_the_first_state_opens_a_record_that_the_call_could_not(
    resources: DeployedResources, context: LambdaContext
) -> None:
    arn = f"{resources.state_machine_arn.replace(':stateMachine:', ':execution:')}:{RUN}-2"
    event = {"run_id": RUN, "reason": "by hand", "execution_arn": arn, "state": "Evaluate"}
    for _ in range(2):
        resume(event, context)
    run = run_records.get(RUN)
    held = lock.holder()
    assert run is not None and held is not None
    assert (run.status, run.attempt, held.execution_arn) == ("running", 2, arn)


@pytest.mark.usefixtures("failed")
def test_a_late_event_of_the_first_execution_does_not_fail_the_second(
    resources: DeployedResources, context: LambdaContext
) -> None:
    _start(context)
    detail = {"name": RUN, "status": "FAILED", "error": "States.TaskFailed", "cause": "no"}
    record_failure({"detail-type": "Step Functions Execution Status Change", "detail": detail}, context)
    run = run_records.get(RUN)
    assert run is not None
    assert run.status == "running"
    detail["name"] = f"{RUN}-2"
    record_failure({"detail-type": "Step Functions Execution Status Change", "detail": detail}, context)
    run = run_records.get(RUN)
    assert run is not None
    assert run.status == "failed"
    assert lock.holder() is None


@pytest.mark.usefixtures("failed")
def test_while_another_run_is_in_progress_it_waits(
    resources: DeployedResources, context: LambdaContext
) -> None:
    other = start_run({"reason": "stories arrived"}, context)["run_id"]
    told = _start(context)
    assert told["refused"]
    assert told["message"] == f"Run {other} is in progress. Resume run {RUN} when it has ended."


def test_what_it_made_is_gone(
    resources: DeployedResources, failed: dict[str, Any], context: LambdaContext
) -> None:
    key = s3_keys.model_archive(RUN, AppNames("storyloom").training_job(RUN))
    clients.s3().delete_object(Bucket=resources.artifacts, Key=key)
    assert f"there is no s3://{resources.artifacts}/{key}" in _start(context)["message"]
    assert lock.holder() is None


def test_another_base_model_is_set_now(
    resources: DeployedResources, failed: dict[str, Any], context: LambdaContext
) -> None:
    failed["kept"]["assembled"]["jobs"]["processing_inputs"][0]["S3Input"]["S3Uri"] = "s3://other/base/"
    assert "trained another base model than the one that is set now" in _start(context)["message"]


def test_a_run_that_failed_before_anything_was_paid_for(
    failed: dict[str, Any], context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "failed_state", lambda arn: None)
    assert _start(context)["message"] == (
        f"Run {RUN} failed in Evaluate and has no results to continue with. "
        "Start a new run instead: storyloom start."
    )


@pytest.mark.parametrize("status", ["succeeded", "stopped_early"])
def test_only_a_failed_run_is_resumed(
    resources: DeployedResources, context: LambdaContext, status: Any
) -> None:
    run_records.create_run(RUN, "arn", "by hand")
    run_records.finish(RUN, status, "It ended.")
    assert f"did not fail: it ended as {status}" in _start(context)["message"]
    assert "There is no run" in start_run({"resume": "20260907-090000-ffff"}, context)["message"]


def test_an_interrupted_training_continues_under_a_new_name(
    resources: DeployedResources, failed: dict[str, Any], context: LambdaContext
) -> None:
    failed |= {"name": "Train", "at": "Preflight"}
    clients.s3().put_object(Bucket=resources.artifacts, Key=s3_keys.examples(RUN, "train"), Body=b"{}")
    assert _start(context)["started"]
    jobs = json.loads(_executions(resources)[0]["input"])["assembled"]["jobs"]
    assert jobs["training_job_name"] == f"storyloom-train-{RUN}-2"
    candidate = jobs["processing_inputs"][1]["S3Input"]["S3Uri"]
    assert candidate.endswith(f"/storyloom-train-{RUN}-2/output/model.tar.gz")


def test_a_version_that_failed_to_deploy_is_approved_again(
    resources: DeployedResources, failed: dict[str, Any], context: LambdaContext, live_v1: str
) -> None:
    versions.set_status("v1", "failed")
    failed |= {"name": "SmokeTest", "at": "Deploy", "kept": {"registered": {"version": "v1"}}}
    run_records.finish(RUN, "failed", "no")
    assert _start(context)["started"]
    [execution] = _executions(resources)
    event = {
        "run_id": RUN,
        "reason": "by hand",
        "execution_arn": execution["executionArn"],
        "state": "Deploy",
    }
    run_records.enter(RUN, "Deploy", version="v1")
    resume(event, context)
    model = versions.get("v1")
    assert model is not None
    assert model.status == "approved"


def test_the_message_says_the_command_and_the_quota(
    resources: DeployedResources, failed: dict[str, Any], context: LambdaContext, letters: Letters
) -> None:
    run_records.reopen(RUN, f"arn:aws:states:us-east-1:1:execution:m:{RUN}-2", "Evaluate", "again")
    told = record_failure({"run_id": RUN, "failure": QUOTA}, context)["message"]
    assert told.startswith("Evaluate failed: The account-level service limit")
    assert 'raise "ml.g6.xlarge for processing job usage" at https://console.aws.amazon.com/' in told
    assert told.endswith(f"To resume it where it failed: storyloom start --from {RUN}")
    run = run_records.get(RUN)
    assert run is not None
    assert (run.step, run.can_resume) == ("Evaluate", True)
    [letter] = letters()
    assert f"storyloom start --from {RUN}" in letter["Message"]


class History:
    """Step Functions with the history of one execution, newest event first."""

    class exceptions:  # noqa: N801 (boto3's own name)
        class ExecutionDoesNotExist(Exception):  # noqa: N818
            pass

    def __init__(self, entered: list[tuple[str, dict[str, Any]]]) -> None:
        self._entered = entered

    def get_paginator(self, operation: str) -> Any:
        assert operation == "get_execution_history"
        entered, gone = self._entered, self.exceptions.ExecutionDoesNotExist

        class Pages:
            def paginate(self, **call: Any) -> Iterator[dict[str, Any]]:
                if not entered:
                    raise gone
                assert call["reverseOrder"]
                for name, given in reversed(entered):
                    details = {"name": name, "input": json.dumps(given)}
                    yield {"events": [{"type": "TaskFailed"}, {"stateEnteredEventDetails": details}]}

        return Pages()


@pytest.mark.parametrize(
    ("walk", "at"),
    [
        (["Read", "Train", "Evaluate", "EvaluateAgain", "BeforeNextAttempt", "NextAttempt"], "Evaluate"),
        (["Train", "TrainAgain", "RecordFailure", "Failed"], "Preflight"),
        (["Deploy", "WaitForEndpoint", "SmokeTest", "RecordFailure"], "Deploy"),
        (["Begin", "Read", "RecordFailure"], None),
        (["Activate"], None),
        ([], None),
    ],
)
def test_the_history_says_where_it_failed(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch, walk: list[str], at: str | None
) -> None:
    given = {"run_id": RUN, "assembled": {"jobs": {}}, "deployment": {}, "failure": {}}
    monkeypatch.setattr(clients, "stepfunctions", lambda: History([(name, given) for name in walk]))
    found = failures.failed_state("arn")
    assert (found and found.resumes_at) == at
    if found is not None:
        assert found.kept == {"assembled": {"jobs": {}}}


@pytest.fixture
def api(resources: DeployedResources, lambdas_at_once: None) -> Iterator[TestClient]:
    """The app, for a person who has signed in."""
    with TestClient(app, headers=caller_headers(email="writer@example.com")) as client:
        yield client


@pytest.mark.usefixtures("failed")
def test_the_api_resumes_it_or_returns_the_reason(api: TestClient, context: LambdaContext) -> None:
    answer = api.post(f"/api/runs/{RUN}/resume")
    assert answer.status_code == 202, answer.text
    assert answer.json() == {
        "started": True,
        "run_id": RUN,
        "message": f"Run {RUN} resumes where it failed: writer@example.com resumed it.",
    }
    late = api.post(f"/api/runs/{RUN}/resume")
    assert (late.status_code, late.json()["error"]["type"]) == (409, "cannot_resume")
    assert api.post("/api/runs/20260907-090000-ffff/resume").status_code == 404
