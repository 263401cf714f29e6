"""The chain is real: the run record says what Step Functions, the job's log and metrics and the model say."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest

from tests.journey.deployed_app import CHECKOUT, Deployed

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

# States that a good first run does not visit, each with its reason.
NOT_VISITED = {
    "NoStories": "only a run on an empty bucket",
    "StopEarly": "only a run without enough text ends early",
    "AwaitApproval": "only with ask_before_training",
    "Approved": "only if a run waited for approval",
    "Declined": "only if somebody declined the run",
    "Superseded": "only if stories came before the answer",
    "NoAnswer": "only if nobody answered in time",
    "Activate": "only if somebody chose an earlier version",
    "IsPreloaded": "only if somebody chose an earlier version",
    "Tune": "only if tune is on",
    "ChooseBest": "only after a search",
    "PendingApproval": "only if approval is manual",
    "NotBetter": "only a candidate that does not pass the gate",
    "Resume": "only a run that failed is resumed",
    "ResumeAt": "only a run that failed is resumed",
    "QuotasTooLow": "only if the account's quotas are too low",
    "NoMoney": "only if the month's limit does not allow the training",
    "TrainAgain": "only if AWS could not run the training",
    "EvaluateAgain": "only if AWS could not run the evaluation",
    "BeforeNextAttempt": "only if AWS could not run a job",
    "NextAttempt": "only if AWS could not run a job",
    "RecordFailure": "only a run with a failed state records a failure",
    "Failed": "the end of a failed run",
}


def test_the_run_made_a_better_model(first_run: dict[str, Any]) -> None:
    assert first_run["status"] == "succeeded", first_run
    assert first_run["tuned_perplexity"] < first_run["base_perplexity"]


def test_every_state_was_visited_or_is_explained(deployed: Deployed, first_run: dict[str, Any]) -> None:
    functions = deployed.client("stepfunctions")
    definition = json.loads(
        functions.describe_state_machine(stateMachineArn=deployed.outputs["StateMachineArn"])["definition"]
    )
    events = [
        event
        for page in functions.get_paginator("get_execution_history").paginate(
            executionArn=first_run["execution_arn"]
        )
        for event in page["events"]
    ]
    visited = {
        event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
    }
    assert set(definition["States"]) - visited == set(NOT_VISITED)


def test_the_training_job_left_its_log_and_its_loss_curve(
    deployed: Deployed, first_run: dict[str, Any]
) -> None:
    job = first_run["training_job"]
    logs = deployed.client("logs")
    streams = logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{job}/"
    )["logStreams"]
    lines = [
        event["message"]
        for stream in streams
        for event in logs.get_log_events(
            logGroupName="/aws/sagemaker/TrainingJobs",
            logStreamName=stream["logStreamName"],
            startFromHead=True,
        )["events"]
    ]
    assert any("metric train_loss=" in line for line in lines)

    losses = _datapoints(deployed, job, "train:loss")
    assert len(losses) >= 1
    logged = [float(line.split("train_loss=")[1].split()[0]) for line in lines if "train_loss=" in line]
    assert min(logged) - 1e-6 <= min(losses) <= max(losses) <= max(logged) + 1e-6


def _datapoints(deployed: Deployed, job: str, metric: str) -> list[float]:
    now = datetime.now(UTC)
    points = deployed.client("cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName=metric,
        Dimensions=[{"Name": "TrainingJobName", "Value": job}],
        StartTime=now - timedelta(hours=2),
        EndTime=now + timedelta(minutes=5),
        Period=1,
        Statistics=["Average"],
    )["Datapoints"]
    return [point["Average"] for point in points]


def test_the_adapter_that_answers_is_the_one_this_run_made(
    deployed: Deployed, first_run: dict[str, Any]
) -> None:
    bucket = deployed.outputs["ArtifactsBucketName"]
    adapter = (
        deployed.client("s3")
        .get_object(
            Bucket=bucket,
            Key=f"runs/{first_run['run_id']}/evaluation/adapter/adapter_model.safetensors",
        )["Body"]
        .read()
    )
    made = hashlib.sha256(adapter).hexdigest()
    assert made == first_run["adapter_sha256"]

    answer = _openai_client(deployed).chat.completions.create(
        model="storyloom", messages=[{"role": "user", "content": "Say hello."}], max_tokens=8
    )
    assert answer.system_fingerprint == made[:16]
    assert answer.model == first_run["version"]
    base = _openai_client(deployed).chat.completions.create(
        model="base", messages=[{"role": "user", "content": "Say hello."}], max_tokens=8
    )
    assert base.system_fingerprint != made[:16]


def test_the_openai_client_streams_tokens_one_after_another(
    deployed: Deployed, first_run: dict[str, Any]
) -> None:
    chunks = list(
        _openai_client(deployed).chat.completions.create(
            model="storyloom",
            messages=[{"role": "user", "content": "Tell me a story about a goose."}],
            max_tokens=40,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert sum(1 for text in texts if text) >= 8
    assert chunks[-1].usage is not None
    assert 0 < chunks[-1].usage.completion_tokens <= 40


def test_nothing_that_was_dropped_is_gone(deployed: Deployed, first_run: dict[str, Any]) -> None:
    """Whoever deletes a story themselves still has its version: the run trained on exactly these bytes."""
    s3 = deployed.client("s3")
    manifest = s3.get_object(
        Bucket=deployed.outputs["ArtifactsBucketName"], Key=f"runs/{first_run['run_id']}/manifest.jsonl"
    )["Body"].read()
    for line in map(json.loads, manifest.splitlines()):
        kept = s3.get_object(
            Bucket=deployed.outputs["StoriesBucketName"], Key=line["key"], VersionId=line["version_id"]
        )["Body"].read()
        assert kept == (CHECKOUT / line["key"]).read_bytes()


def _openai_client(deployed: Deployed) -> openai.OpenAI:
    connection = deployed.api.connection
    return openai.OpenAI(base_url=f"{connection.url}/api/v1", api_key=connection.id_token, max_retries=20)
