"""An account that may not evaluate: a run ends before it pays, and a paid training is never lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.settings import Settings
from tests.journey.deployed_app import STORIES, Deployed, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

EVALUATIONS = [
    f"{instance} for processing job usage"
    for instance in Settings(base_model="smollm2-135m").evaluation_instances
]


def set_all(deployed: Deployed, value: float) -> None:
    """Give every instance that may evaluate this quota."""
    for name in EVALUATIONS:
        deployed.cloud.set_quota(name, value)


@pytest.fixture
def stories(deployed: Deployed) -> Iterator[dict[str, bytes]]:
    """Enough stories for a training; the quotas are ample again afterwards."""
    deployed.start_afresh()
    try:
        # It is trained on to the end: a later run on the same stories would end before its training.
        yield {path.name: path.read_bytes() for path in STORIES[1:]}
    finally:
        set_all(deployed, 20)


def jobs(deployed: Deployed, run_id: str) -> tuple[list[str], list[str]]:
    """The names of a run's training and processing jobs."""
    sagemaker = deployed.client("sagemaker")
    trained = sagemaker.list_training_jobs(NameContains=run_id)["TrainingJobSummaries"]
    evaluated = sagemaker.list_processing_jobs(NameContains=run_id)["ProcessingJobSummaries"]
    return [job["TrainingJobName"] for job in trained], [job["ProcessingJobName"] for job in evaluated]


@pytest.mark.aws_fact
def test_without_quota_for_the_evaluation_no_paid_training_is_lost(
    deployed: Deployed, stories: dict[str, bytes]
) -> None:
    set_all(deployed, 0)
    early = deployed.drop_and_finish(stories)
    assert early["status"] == "stopped_early", early["message"]
    assert "nothing was spent on a GPU" in early["message"]
    assert f"- {EVALUATIONS[0]}: 0, and 1 is needed for the evaluation" in early["message"]
    assert "aws service-quotas request-service-quota-increase" in early["message"]
    assert jobs(deployed, early["run_id"]) == ([], [])

    set_all(deployed, 1)
    run_id = deployed.start_run()
    wait_for(lambda: jobs(deployed, run_id)[0] or None)
    set_all(deployed, 0)
    failed = deployed.finished_run(run_id)
    assert (failed["status"], failed["failure"]["step"]) == ("failed", "Evaluate"), failed["message"]
    assert "for processing job usage' is 0 Instances" in failed["message"]
    assert failed["message"].endswith(f"storyloom start --from {run_id}")
    trained, evaluated = jobs(deployed, run_id)
    assert (len(trained), evaluated) == (1, [])
    deployed.wait_for_rest()

    set_all(deployed, 1)
    assert deployed.api.resume_run(run_id)["started"]
    run = deployed.finished_run(run_id)
    assert run["status"] == "succeeded", run["message"]
    assert run["tuned_perplexity"] < run["base_perplexity"]
    assert jobs(deployed, run_id) == (trained, [run["processing_job"]]), "nothing was trained again"
    assert run["training_job"] == trained[0]
    deployed.answers_as(run["version"])
