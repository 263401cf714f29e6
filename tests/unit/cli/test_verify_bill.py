"""What `storyloom verify` costs is read from SageMaker: every attempt, all instances, the endpoint's time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.verify.bill import Bill

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RUN = "20261130-110000-aaaa"
JOBS: dict[str, dict[str, dict[str, Any]]] = {
    "training": {
        f"storyloom-train-{RUN}": {
            "ResourceConfig": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 2},
            "TrainingStartTime": NOW - HOUR,
            "TrainingEndTime": NOW,
            "BillableTimeInSeconds": 1800,
            "TrainingJobStatus": "Failed",
        },
        f"storyloom-train-{RUN}-2": {
            "ResourceConfig": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1},
            "TrainingStartTime": NOW - HOUR,
            "TrainingJobStatus": "InProgress",
        },
        "storyloom-train-20261101-000000-bbbb": {
            "ResourceConfig": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 8},
            "BillableTimeInSeconds": 360_000,
            "TrainingJobStatus": "Completed",
        },
    },
    "processing": {
        f"storyloom-evaluate-{RUN}": {
            "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1}},
            "ProcessingStartTime": NOW - HOUR,
            "ProcessingEndTime": NOW,
            "ProcessingJobStatus": "Completed",
        }
    },
    "transform": {},
}


class SageMaker:
    """What the account has."""

    def __init__(self) -> None:
        self.endpoints: list[dict[str, Any]] = []
        self._kind = ""

    def get_paginator(self, operation: str) -> SageMaker:
        self._kind = operation.removeprefix("list_").removesuffix("_jobs")
        return self

    def paginate(self, **request: str) -> list[dict[str, Any]]:
        key = f"{self._kind.capitalize()}Job"
        names = [name for name in JOBS[self._kind] if request["NameContains"] in name]
        return [{f"{key}Summaries": [{f"{key}Name": name} for name in names]}]

    def describe_training_job(self, **request: str) -> dict[str, Any]:
        return JOBS["training"][request["TrainingJobName"]]

    def describe_processing_job(self, **request: str) -> dict[str, Any]:
        return JOBS["processing"][request["ProcessingJobName"]]

    def list_endpoints(self, **request: str) -> dict[str, Any]:
        return {"Endpoints": self.endpoints}

    def describe_endpoint(self, **request: str) -> dict[str, Any]:
        return {"EndpointConfigName": "c", "ProductionVariants": [{"CurrentInstanceCount": 2}]}

    def describe_endpoint_config(self, **request: str) -> dict[str, Any]:
        return {"ProductionVariants": [{"InstanceType": "ml.g6.xlarge"}]}


@pytest.fixture
def sagemaker() -> SageMaker:
    return SageMaker()


def _bill(sagemaker: SageMaker, times: list[datetime], **options: Any) -> Bill:
    clock = iter(times)
    last = times[-1]
    return Bill(
        lambda: sagemaker,
        "storyloom",
        region="us-east-1",
        is_free=False,
        now=lambda: next(clock, last),
        **options,
    )


def test_every_attempt_of_the_run_counts_with_all_its_instances(sagemaker: SageMaker) -> None:
    bill = _bill(sagemaker, [NOW])
    bill.count_jobs(RUN)
    # Half an hour of two instances, an hour of one that still runs, and the evaluation's hour.
    assert bill.total_usd(at_once=True) == pytest.approx(1.127 + 1.127 + 1.41)


def test_nothing_counts_before_a_run_is_known(sagemaker: SageMaker) -> None:
    assert _bill(sagemaker, [NOW]).total_usd(at_once=True) == 0


def test_the_endpoint_counts_from_its_creation_while_it_is_there(sagemaker: SageMaker) -> None:
    bill = _bill(sagemaker, [NOW, NOW + HOUR, NOW + 5 * HOUR])
    sagemaker.endpoints = [{"EndpointName": "storyloom", "CreationTime": NOW - HOUR}]
    assert bill.total_usd(at_once=True) == pytest.approx(2 * 1.127)
    assert bill.total_usd(at_once=True) == pytest.approx(4 * 1.127)
    sagemaker.endpoints = [{"EndpointName": "storyloom-two", "CreationTime": NOW}]
    assert bill.total_usd(at_once=True) == pytest.approx(4 * 1.127)


def test_an_endpoint_that_was_awake_before_is_not_of_this_bill(sagemaker: SageMaker) -> None:
    bill = _bill(sagemaker, [NOW])
    sagemaker.endpoints = [{"EndpointName": "storyloom", "CreationTime": NOW - HOUR}]
    bill.exclude_endpoint()
    assert bill.total_usd(at_once=True) == 0


def test_an_unknown_price_is_what_the_user_says(sagemaker: SageMaker) -> None:
    assert _bill(sagemaker, [NOW]).price("ml.p5en.48xlarge") is None
    assert _bill(sagemaker, [NOW], assumed_usd_per_hour=98.3).price("ml.p5en.48xlarge") == 98.3
    assert _bill(sagemaker, [NOW], assumed_usd_per_hour=98.3).price("ml.g6.xlarge") == 1.127
