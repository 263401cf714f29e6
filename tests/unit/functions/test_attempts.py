"""A job that AWS could not run is tried again under a new name, an evaluation also on another instance."""

import json
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from next_attempt.handler import handler as next_attempt
from shared.recovery import attempts
from shared.runs import run_records
from tests.unit.functions.conftest import DeployedResources

RUN = "20260907-090000-abcd"
QUOTA = {
    "Error": "SageMaker.ResourceLimitExceededException",
    "Cause": "The account-level service limit 'ml.g6.xlarge for processing job usage' is 0 Instances, with "
    "current utilization of 0 Instances and a request delta of 1 Instances.",
}


def _failed(reason: str, kind: str = "Processing") -> dict[str, str]:
    cause = {f"{kind}JobName": "job", f"{kind}JobStatus": "Failed", "FailureReason": reason}
    return {"Error": "States.TaskFailed", "Cause": json.dumps(cause)}


CAPACITY = _failed("CapacityError: Unable to provision requested ML compute capacity.")
INTERNAL = _failed("InternalServerError: We encountered an internal error. Please try again.")


def _jobs(instances: list[str]) -> dict[str, Any]:
    inputs = [{"InputName": "candidate", "S3Input": {"S3Uri": "s3://a/old", "LocalPath": "/p"}}]
    jobs = {"training_attempt": 1, "training_job_name": f"storyloom-train-{RUN}", "processing_inputs": inputs}
    return attempts.evaluation_attempt(RUN, jobs, 1, instances)


def _decide(
    context: LambdaContext, step: str, jobs: dict[str, Any], failure: dict[str, str]
) -> dict[str, Any]:
    return dict(next_attempt({"run_id": RUN, "step": step, "jobs": jobs, "failure": failure}, context))


def test_an_evaluation_without_quota_moves_to_the_next_instance_for_good(
    resources: DeployedResources, context: LambdaContext
) -> None:
    first = _jobs(["ml.g6.xlarge", "ml.g5.xlarge"])
    second = _decide(context, "Evaluate", first, QUOTA)
    assert (second["again"], second["processing_instance"]) == ("Evaluate", "ml.g5.xlarge")
    assert second["processing_job_name"] == f"storyloom-evaluate-{RUN}-2" != first["processing_job_name"]
    run = run_records.get(RUN)
    assert run is not None
    assert run.processing_job == second["processing_job_name"]
    assert run.message == (
        "The evaluation is tried again on ml.g5.xlarge: "
        "the account's quota does not allow ml.g6.xlarge for it."
    )
    assert _decide(context, "Evaluate", second, QUOTA)["again"] == ""


@pytest.mark.parametrize("failure", [CAPACITY, INTERNAL])
def test_an_evaluation_without_capacity_is_tried_six_times_in_all(
    resources: DeployedResources, context: LambdaContext, failure: dict[str, str]
) -> None:
    jobs, seen = _jobs(["ml.g6.xlarge", "ml.g5.xlarge"]), []
    while True:
        seen.append((jobs["processing_job_name"], jobs["processing_instance"]))
        jobs = _decide(context, "Evaluate", jobs, failure)
        if not jobs["again"]:
            break
        assert jobs["wait_seconds"] >= 30
    assert len({name for name, _ in seen}) == len(seen) == attempts.MOST_ATTEMPTS
    assert [instance for _, instance in seen] == ["ml.g6.xlarge", "ml.g5.xlarge"] * 3


def test_a_training_keeps_its_instance_and_the_evaluation_finds_its_model(
    resources: DeployedResources, context: LambdaContext
) -> None:
    after = _decide(context, "Train", _jobs(["ml.g6.xlarge"]), CAPACITY)
    name = f"storyloom-train-{RUN}-2"
    assert (after["again"], after["training_job_name"]) == ("Train", name)
    [candidate] = after["processing_inputs"]
    assert candidate["S3Input"]["S3Uri"].endswith(f"/runs/{RUN}/training/{name}/output/model.tar.gz")
    assert _decide(context, "Train", _jobs(["ml.g6.xlarge"]), QUOTA)["again"] == "", "waiting raises no quota"


@pytest.mark.parametrize("step", ["Train", "Evaluate"])
@pytest.mark.parametrize(
    "failure",
    [
        _failed("AlgorithmError: the training data has no examples, exit code: 1"),
        {"Error": "SageMaker.AmazonSageMakerException", "Cause": "not authorized to perform: iam:PassRole"},
        {"Error": "States.TaskFailed", "Cause": "[]"},
    ],
)
def test_what_fails_by_itself_is_not_tried_again(
    resources: DeployedResources, context: LambdaContext, step: str, failure: dict[str, str]
) -> None:
    jobs = _jobs(["ml.g6.xlarge", "ml.g5.xlarge"])
    assert _decide(context, step, jobs, failure) == {**jobs, "again": "", "wait_seconds": 1}


@pytest.mark.parametrize("name", ["storyloom", "s12", "twenty-letters-in-it"])
def test_names_have_room_for_ninety_nine_attempts(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("STORYLOOM_NAME", name)
    jobs = _jobs(["ml.g6.xlarge"]) | {"tuning": {"attempt": 1}}
    assert len(attempts.training_attempt(RUN, jobs, 99)["training_job_name"]) <= 63
    assert len(attempts.evaluation_attempt(RUN, jobs, 99, ["ml.g6.xlarge"])["processing_job_name"]) <= 63
    assert len(attempts.search_attempt(RUN, jobs, 9)["tuning"]["job_name"]) <= 32
