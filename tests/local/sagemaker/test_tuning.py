"""Tuning jobs: every trial is a real training job, and the best of them is found."""

import json
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.conftest import BUCKET, Aws, training_request, until

pytestmark = pytest.mark.cloud

# A lesson whose best rate is known: the loss is the distance from 0.3.
TRIAL = """
import json
import os
import sys
import time
from pathlib import Path

settings = json.loads(os.environ["SM_HPS"])
rate = float(settings["rate"])
if settings.get("fails") == "yes":
    Path(os.environ["SM_OUTPUT_FAILURE"]).write_text("no story to learn from")
    sys.exit(1)
for step in range(3):
    print(f"metric validation_loss={abs(rate - 0.3) + (2 - step)}", flush=True)
    time.sleep(float(settings.get("seconds", "0.4")))
print("arguments", sys.argv[1:], "metric", settings["_tuning_objective_metric"], flush=True)
(Path(os.environ["SM_MODEL_DIR"]) / "rate.txt").write_text(str(settings["rate"]))
"""


@pytest.fixture(scope="session")
def trial_code(aws: Aws) -> None:
    aws.client("s3").put_object(Bucket=BUCKET, Key="tuning/trial.py", Body=TRIAL)


def _request(role: str, **static: str) -> dict[str, Any]:
    training = training_request("", role)
    del training["TrainingJobName"]
    training["AlgorithmSpecification"] = {
        "TrainingImage": training["AlgorithmSpecification"]["TrainingImage"],
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "validation:loss", "Regex": "metric validation_loss=([0-9.eE+-]+)"}],
    }
    training["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = f"s3://{BUCKET}/tuning/"
    static = {
        "sagemaker_program": "trial.py",
        "sagemaker_submit_directory": "/opt/ml/input/data/code",
        **static,
    }
    rate = {"Name": "rate", "MinValue": "0.001", "MaxValue": "1", "ScalingType": "Linear"}
    return {
        "HyperParameterTuningJobName": f"tune-{uuid4().hex[:8]}",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": [rate]},
            "TrainingJobEarlyStoppingType": "Off",
            "RandomSeed": 7,
        },
        "TrainingJobDefinition": {**training, "StaticHyperParameters": static},
    }


def _ended(aws: Aws, name: str) -> dict[str, Any]:
    return until(
        lambda: aws.client("sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
        lambda job: job["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped"),
    )


def test_the_best_of_several_real_jobs_is_found(aws: Aws, job_role: str, trial_code: None) -> None:
    request = _request(job_role)
    sagemaker = aws.client("sagemaker")
    sagemaker.create_hyper_parameter_tuning_job(**request)
    name = request["HyperParameterTuningJobName"]
    job = _ended(aws, name)

    assert job["HyperParameterTuningJobStatus"] == "Completed", job.get("FailureReason")
    assert job["TrainingJobStatusCounters"]["Completed"] == 4
    trials = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, SortBy="FinalObjectiveMetricValue", SortOrder="Ascending"
    )["TrainingJobSummaries"]
    rates = [float(trial["TunedHyperParameters"]["rate"]) for trial in trials]
    assert len(set(rates)) == 4
    best = min(rates, key=lambda rate: abs(rate - 0.3))
    assert float(job["BestTrainingJob"]["TunedHyperParameters"]["rate"]) == best == rates[0]

    winner = job["BestTrainingJob"]["TrainingJobName"]
    saved = aws.client("s3").get_object(Bucket=BUCKET, Key=f"out/{winner}/output/model/rate.txt")
    assert float(saved["Body"].read()) == best
    described = sagemaker.describe_training_job(TrainingJobName=winner)
    assert described["TuningJobArn"] == job["HyperParameterTuningJobArn"]
    (line,) = [
        line for line in aws.log("/aws/sagemaker/TrainingJobs", f"{winner}/") if line.startswith("arguments")
    ]
    assert "'--rate'" in line
    assert "sagemaker_program" not in line
    assert line.endswith("metric validation:loss")
    listed = sagemaker.list_hyper_parameter_tuning_jobs(NameContains=name, StatusEquals="Completed")
    assert len(listed["HyperParameterTuningJobSummaries"]) == 1


def test_when_every_job_fails_the_search_says_why(aws: Aws, job_role: str, trial_code: None) -> None:
    request = _request(job_role, fails="yes")
    request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = 1
    aws.client("sagemaker").create_hyper_parameter_tuning_job(**request)
    job = _ended(aws, request["HyperParameterTuningJobName"])
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert "no story to learn from" in job["FailureReason"]
    assert "BestTrainingJob" not in job


def test_a_stopped_search_stops_its_jobs(aws: Aws, job_role: str, trial_code: None) -> None:
    request = _request(job_role, seconds="30")
    sagemaker = aws.client("sagemaker")
    sagemaker.create_hyper_parameter_tuning_job(**request)
    name = request["HyperParameterTuningJobName"]
    until(
        lambda: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
        lambda job: job["TrainingJobStatusCounters"]["InProgress"] == 2,
    )
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    job = _ended(aws, name)
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    assert job["TrainingJobStatusCounters"]["Stopped"] == 2


def test_wrong_requests_are_refused(aws: Aws, job_role: str) -> None:
    sagemaker = aws.client("sagemaker")
    request = _request(job_role)
    request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"] = "bleu"
    with pytest.raises(ClientError, match="none of the MetricDefinitions"):
        sagemaker.create_hyper_parameter_tuning_job(**request)
    with pytest.raises(ClientError, match="both static and tuned: rate"):
        sagemaker.create_hyper_parameter_tuning_job(**_request(job_role, rate="0.5"))


def test_a_state_machine_waits_for_the_search_under_its_own_role(
    aws: Aws, job_role: str, trial_code: None
) -> None:
    request = _request(job_role)
    request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = 2
    # Step Functions is not known to take these.
    del request["TrainingJobDefinition"]["OutputDataConfig"]["CompressionType"]
    del request["HyperParameterTuningJobConfig"]["RandomSeed"]
    tuning_jobs = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/tune-*"
    account = job_role.split(":")[4]
    tuning_jobs = tuning_jobs.replace("000000000000", account)
    rule = f"arn:aws:events:us-east-1:{account}:rule/StepFunctionsGetEventsForSageMakerTuningJobsRule"
    allowed = {
        **{
            f"sagemaker:{action}": tuning_jobs
            for action in (
                "CreateHyperParameterTuningJob",
                "DescribeHyperParameterTuningJob",
                "StopHyperParameterTuningJob",
                "AddTags",
                "ListTags",
            )
        },
        **{f"events:{action}": rule for action in ("PutTargets", "PutRule", "DescribeRule")},
    }
    role = aws.role("states.amazonaws.com", allowed)
    states = aws.client("stepfunctions")
    resource = "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync"
    definition = {
        "StartAt": "Tune",
        "States": {"Tune": {"Type": "Task", "Resource": resource, "Parameters": request, "End": True}},
    }
    machine = states.create_state_machine(
        name=f"tune-{uuid4().hex[:6]}", definition=json.dumps(definition), roleArn=role
    )["stateMachineArn"]

    def run() -> dict[str, Any]:
        execution = states.start_execution(stateMachineArn=machine)["executionArn"]
        return until(
            lambda: states.describe_execution(executionArn=execution),
            lambda seen: seen["status"] != "RUNNING",
        )

    refused = run()
    assert refused["status"] == "FAILED"
    assert "iam:PassRole" in refused["cause"]
    aws.allow(role, {**allowed, "iam:PassRole": job_role})
    done = run()
    assert done["status"] == "SUCCEEDED", done.get("cause")
    assert json.loads(done["output"])["BestTrainingJob"]["TrainingJobStatus"] == "Completed"
