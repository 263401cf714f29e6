"""What the local SageMaker's own answers and events come to in dollars. Nothing of the app is asked."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from local.aws.cloud_environment import ACCOUNT, REGION
from tests.local.sagemaker.conftest import Aws

ENDED = {"Completed", "Failed", "Stopped"}
_LONGEST_START = timedelta(minutes=30)


@dataclass(frozen=True)
class Line:
    """A line of the bill."""

    what: str
    instance: str
    seconds: float
    """Of all its instances together."""
    over_seconds: float = 0.0
    """How much of that lies beyond the job's `MaxRuntimeInSeconds`: SageMaker ends nothing at once."""


class EndpointEvents:
    """The state changes of all endpoints, which SageMaker tells EventBridge and a queue keeps."""

    def __init__(self, aws: Aws) -> None:
        """Have the events kept from now on."""
        self._aws, self._seen = aws, list[dict[str, Any]]()
        name = f"bill-{uuid4().hex[:8]}"
        self._queue = aws.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Endpoint State Change"]}
        aws.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        aws.client("events").put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])

    def so_far(self) -> list[dict[str, Any]]:
        """Return the events' details, in the order of their times."""
        sqs = self._aws.client("sqs")
        while found := sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in found:
                self._seen.append(json.loads(message["Body"])["detail"])
                sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return sorted(self._seen, key=lambda detail: int(detail["LastModifiedTime"]))


def of_jobs(aws: Aws, app: str) -> Iterator[Line]:
    """Yield a line for each job of an app, as SageMaker says how long it bills it."""
    sagemaker = aws.client("sagemaker")
    for name in _names(sagemaker, "training", app):
        job = sagemaker.describe_training_job(TrainingJobName=name)
        if job["TrainingJobStatus"] in ENDED:
            # A job that never trained has none.
            seconds, limit = job.get("BillableTimeInSeconds", 0), job["StoppingCondition"]
            yield _line(name, job["ResourceConfig"], seconds, limit)
    for name in _names(sagemaker, "processing", app):
        job = sagemaker.describe_processing_job(ProcessingJobName=name)
        if job["ProcessingJobStatus"] in ENDED:
            seconds = _between(job.get("ProcessingStartTime"), job.get("ProcessingEndTime"))
            yield _line(name, job["ProcessingResources"]["ClusterConfig"], seconds, job["StoppingCondition"])
    for name in _names(sagemaker, "transform", app):
        job = sagemaker.describe_transform_job(TransformJobName=name)
        if job["TransformJobStatus"] in ENDED:
            seconds = _between(job.get("TransformStartTime"), job.get("TransformEndTime"))
            yield _line(name, job["TransformResources"], seconds, {})


def of_endpoint(aws: Aws, events: list[dict[str, Any]]) -> Iterator[Line]:
    """Yield a line for each stretch of an endpoint: its instances bill from its creation to its deletion.

    While an update is under way those of the new configuration bill beside those of the old one.
    """
    fleets: list[tuple[str, int]] = []
    since = 0.0
    for detail in events:
        at = detail["LastModifiedTime"] / 1000
        for instance, count in fleets:
            yield Line(f"endpoint from {since:.0f} to {at:.0f}", instance, count * (at - since))
        fleets, since = _fleets(aws, detail), at


def _fleets(aws: Aws, detail: dict[str, Any]) -> list[tuple[str, int]]:
    status = detail["EndpointStatus"]
    if status in {"Failed", "Deleting"}:
        return []
    configs = [detail["EndpointConfigName"]]
    if status in {"Updating", "RollingBack"} and "PendingDeploymentSummary" in detail:
        configs.append(detail["PendingDeploymentSummary"]["EndpointConfigName"])
    count = sum(variant["CurrentInstanceCount"] for variant in detail["ProductionVariants"])
    described = [
        aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=name) for name in configs
    ]
    return [(config["ProductionVariants"][0]["InstanceType"], count) for config in described]


def _names(sagemaker: Any, kind: str, app: str) -> list[str]:
    pages = sagemaker.get_paginator(f"list_{kind}_jobs").paginate(NameContains=app)
    member = kind.capitalize()
    return [job[f"{member}JobName"] for page in pages for job in page[f"{member}JobSummaries"]]


def _line(name: str, cluster: dict[str, Any], seconds: float, limit: dict[str, Any]) -> Line:
    count, whole = cluster["InstanceCount"], math.ceil(seconds)
    over = max(0, whole - limit.get("MaxRuntimeInSeconds", whole))
    return Line(name, cluster["InstanceType"], count * whole, count * over)


def _between(start: datetime | None, stop: datetime | None) -> float:
    return (stop - start).total_seconds() if start and stop else 0.0


def overdue(aws: Aws, app: str, now: datetime) -> list[str]:
    """Return what SageMaker would have ended by now, and this machine has not got round to.

    These are jobs beyond their `MaxRuntimeInSeconds`, batches that are being stopped, and endpoints that have
    been starting for as long as SageMaker lets a container try.
    """
    sagemaker = aws.client("sagemaker")
    listed = sagemaker.list_training_jobs(NameContains=app, StatusEquals="InProgress")["TrainingJobSummaries"]
    trainings = [sagemaker.describe_training_job(TrainingJobName=job["TrainingJobName"]) for job in listed]
    late = [
        job["TrainingJobName"]
        for job in trainings
        if job["SecondaryStatus"] == "Training" and _is_over(job, job["TrainingStartTime"], now)
    ]
    listed = sagemaker.list_processing_jobs(NameContains=app, StatusEquals="InProgress")
    for summary in listed["ProcessingJobSummaries"]:
        job = sagemaker.describe_processing_job(ProcessingJobName=summary["ProcessingJobName"])
        if _is_over(job, job.get("ProcessingStartTime"), now):
            late.append(job["ProcessingJobName"])
    stopping = sagemaker.list_transform_jobs(NameContains=app, StatusEquals="Stopping")
    late += [job["TransformJobName"] for job in stopping["TransformJobSummaries"]]
    endpoints = sagemaker.list_endpoints(NameContains=app, LastModifiedTimeBefore=now - _LONGEST_START)
    return late + [
        endpoint["EndpointName"]
        for endpoint in endpoints["Endpoints"]
        if endpoint["EndpointStatus"] in {"Creating", "Updating"}
    ]


def _is_over(job: Any, started_at: datetime | None, now: datetime) -> bool:
    limit: int = job["StoppingCondition"]["MaxRuntimeInSeconds"]
    return _between(started_at, now) > limit
