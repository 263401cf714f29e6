"""Training jobs: real processes with SageMaker's contract, under their own role."""

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.conftest import BUCKET, JOB_PERMISSIONS, Aws, training_request, until

pytestmark = pytest.mark.cloud

LOGS = "/aws/sagemaker/TrainingJobs"


def test_a_job_runs_its_code_and_leaves_model_log_and_metrics(aws: Aws, job_role: str) -> None:
    name = aws.training_job(job_role, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints/a/"})
    job = aws.ended(name)

    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/out/{name}/output/model/"
    assert aws.keys(f"out/{name}/") == [f"out/{name}/output/model/model.txt"]
    assert aws.keys("checkpoints/a/") == ["checkpoints/a/step-1"]
    assert [step["Status"] for step in job["SecondaryStatusTransitions"]] == [
        "Downloading",
        "Training",
        "Uploading",
    ]
    assert all("EndTime" in step for step in job["SecondaryStatusTransitions"])
    [metric] = job["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("train:loss", 1.5)

    log = aws.log(LOGS, f"{name}/algo-1-")
    assert "metric train_loss=2.5 step=1" in log
    assert any(re.search(r"arguments \['--model', '.*/model'\]", line) for line in log)
    assert "secrets []" in log  # network isolation: no credentials, and never the server's own

    statistics = aws.client("cloudwatch").get_metric_statistics(
        Namespace=LOGS,
        MetricName="train:loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": name}],
        StartTime=job["CreationTime"],
        EndTime=job["LastModifiedTime"],
        Period=3600,
        Statistics=["Minimum", "Maximum"],
    )["Datapoints"]
    assert [(point["Minimum"], point["Maximum"]) for point in statistics] == [(1.5, 2.5)]


@pytest.mark.aws_fact
@pytest.mark.parametrize("member", ["TensorBoardOutputConfig", "DebugHookConfig"])
def test_debuggers_parameters_are_refused_to_new_customers(aws: Aws, job_role: str, member: str) -> None:
    with pytest.raises(ClientError, match=f"{member}.*no longer open to new customers"):
        aws.training_job(job_role, **{member: {"S3OutputPath": f"s3://{BUCKET}/events/"}})


def test_a_second_job_finds_the_checkpoints_of_the_first(aws: Aws, job_role: str) -> None:
    config = {"S3Uri": f"s3://{BUCKET}/checkpoints/b/"}
    first = aws.training_job(job_role, {"fail_with": "1"}, CheckpointConfig=config)
    assert aws.ended(first)["TrainingJobStatus"] == "Failed"

    second = aws.training_job(job_role, CheckpointConfig=config)
    aws.ended(second)

    assert "found []" in aws.log(LOGS, f"{first}/algo-1-")
    assert "found ['step-1']" in aws.log(LOGS, f"{second}/algo-1-")


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        ({"fail_with": "3"}, "AlgorithmError: , exit code: 3"),
        ({"fail_with": "1", "words": "too few stories"}, "AlgorithmError: too few stories, exit code: 1"),
    ],
    ids=["no words", "its own words"],
)
def test_a_failing_job_says_why(
    aws: Aws, job_role: str, hyperparameters: dict[str, str], reason: str
) -> None:
    job = aws.ended(aws.training_job(job_role, hyperparameters))

    assert job["TrainingJobStatus"] == "Failed"
    assert re.fullmatch(reason, job["FailureReason"], re.DOTALL), job["FailureReason"]
    assert job["SecondaryStatus"] == "Failed"


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        ({"fail_with": "3"}, 'AlgorithmError: ExecuteUserScriptError:\nExitCode 3\nErrorMessage ".*'),
        ({"fail_with": "1", "words": "too few stories"}, "AlgorithmError: too few stories, exit code: 1"),
    ],
    ids=["its own words", "the script's"],
)
def test_the_toolkit_says_why_a_script_ended_if_the_script_did_not(
    aws: Aws, job_role: str, hyperparameters: dict[str, str], reason: str
) -> None:
    started_by = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "/opt/ml/input/data/code"}
    algorithm = training_request("", job_role)["AlgorithmSpecification"]
    named = {name: algorithm[name] for name in ("TrainingImage", "TrainingInputMode")}
    job = aws.ended(aws.training_job(job_role, hyperparameters | started_by, AlgorithmSpecification=named))
    assert re.fullmatch(reason, job["FailureReason"], re.DOTALL), job["FailureReason"]


@pytest.mark.parametrize("missing", ["s3:GetObject", "s3:ListBucket", "s3:PutObject"])
def test_a_role_without_a_permission_fails_the_job_and_names_it(aws: Aws, missing: str) -> None:
    allowed = {action: on for action, on in JOB_PERMISSIONS.items() if action != missing}
    job = aws.ended(aws.training_job(aws.role("sagemaker.amazonaws.com", allowed)))

    assert job["TrainingJobStatus"] == "Failed"
    assert f"not authorized to perform: {missing}" in job["FailureReason"]


def test_a_role_that_may_not_log_does_not_stop_the_job(aws: Aws) -> None:
    allowed = {action: on for action, on in JOB_PERMISSIONS.items() if not action.startswith("logs:")}
    job = aws.ended(aws.training_job(aws.role("sagemaker.amazonaws.com", allowed)))

    assert job["TrainingJobStatus"] == "Completed"


def test_a_stopped_job_is_asked_first_and_keeps_what_it_saved(aws: Aws, job_role: str) -> None:
    name = aws.training_job(job_role, {"seconds": "50"})
    _until_training(aws, name)
    aws.client("sagemaker").stop_training_job(TrainingJobName=name)
    job = aws.ended(name)

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "asked to stop" in aws.log(LOGS, f"{name}/algo-1-")
    assert aws.keys(f"out/{name}/") == [f"out/{name}/output/model/last.txt"]


def test_a_job_over_its_time_is_stopped(aws: Aws, job_role: str) -> None:
    name = aws.training_job(job_role, {"seconds": "50"}, StoppingCondition={"MaxRuntimeInSeconds": 2})
    job = aws.ended(name)

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_a_channel_without_objects_fails_the_job(aws: Aws, job_role: str) -> None:
    request = training_request("", job_role)
    empty = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/nothing/"}
    channels = [*request["InputDataConfig"], {"ChannelName": "data", "DataSource": {"S3DataSource": empty}}]
    job = aws.ended(aws.training_job(job_role, InputDataConfig=channels))

    assert "No S3 objects found" in job["FailureReason"]


def test_a_name_is_used_once(aws: Aws, job_role: str) -> None:
    name = aws.training_job(job_role)
    with pytest.raises(ClientError) as refused:
        aws.client("sagemaker").create_training_job(**training_request(name, job_role))
    assert refused.value.response["Error"]["Code"] == "ResourceInUse"


def test_lists_filter_and_page(aws: Aws, job_role: str) -> None:
    names = [aws.training_job(job_role) for _ in range(3)]
    for name in names:
        aws.ended(name)
    sagemaker = aws.client("sagemaker")

    listed = sagemaker.list_training_jobs(NameContains=names[0], StatusEquals="Completed")
    assert [job["TrainingJobName"] for job in listed["TrainingJobSummaries"]] == [names[0]]
    pages = sagemaker.get_paginator("list_training_jobs").paginate(PaginationConfig={"PageSize": 2})
    seen = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    assert seen.index(names[2]) < seen.index(names[0])  # newest first
    assert len(seen) == len(set(seen))


def _until_training(aws: Aws, name: str) -> dict[str, Any]:
    return until(
        lambda: aws.client("sagemaker").describe_training_job(TrainingJobName=name),
        lambda job: job["SecondaryStatus"] == "Training" and bool(job.get("FinalMetricDataList")),
    )
