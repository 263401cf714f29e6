"""What SageMaker reports, bills and limits follows its clock, which may be a file."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.local.sagemaker.conftest import Aws, until

pytestmark = pytest.mark.cloud

NOON = datetime(2031, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def noon(aws: Aws) -> Iterator[Path]:
    """Return the clock's file, which stands at noon."""
    aws.clock.write_text(str(NOON.timestamp()))
    yield aws.clock
    aws.clock.unlink()


def test_a_job_is_billed_and_limited_by_the_clock(aws: Aws, job_role: str, noon: Path) -> None:
    name = aws.training_job(job_role, {"seconds": "600"}, StoppingCondition={"MaxRuntimeInSeconds": 1800})
    sagemaker = aws.client("sagemaker")
    started = until(
        lambda: sagemaker.describe_training_job(TrainingJobName=name),
        lambda job: job["SecondaryStatus"] == "Training",
    )
    assert started["CreationTime"] == started["TrainingStartTime"] == NOON
    # The script must be able to hear that it is to stop.
    until(
        lambda: {"lines": aws.log("/aws/sagemaker/TrainingJobs", name)},
        lambda look: any("train_loss" in line for line in look["lines"]),
    )
    later = NOON + timedelta(seconds=1805)
    noon.write_text(str(later.timestamp()))
    ended = aws.ended(name)
    assert (ended["TrainingJobStatus"], ended["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert ended["TrainingEndTime"] == later
    assert ended["BillableTimeInSeconds"] == 1805
    assert json.dumps(ended["SecondaryStatusTransitions"], default=str).count("2031-03-02") >= 6


def test_without_its_file_the_clock_is_the_machines(aws: Aws, job_role: str) -> None:
    ended = aws.ended(aws.training_job(job_role))
    assert abs(ended["TrainingEndTime"] - datetime.now(UTC)) < timedelta(minutes=10)
