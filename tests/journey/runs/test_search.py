"""A run that searches: real trainings with other settings, watched meanwhile, the best of which goes on."""

from __future__ import annotations

from typing import Any

import pytest

from cli.run_progress import wait_for_new_run
from tests.journey.deployed_app import CHECKOUT, PATIENCE_S, Deployed, wait_for
from tests.journey.settings import changed

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

TRIALS = 2
QUICK = {
    "STORYLOOM_TUNE": "true",
    "STORYLOOM_TUNING_JOBS": str(TRIALS),
    "STORYLOOM_MAX_TRAINING_MINUTES": "1",
}
SEARCH_SECONDS = 600
OTHER_STORIES = sorted((CHECKOUT / "sample_stories").iterdir())[-4:]
"""Four stories, of each of which the end is held out: too few for a run that trains to the end."""


def _search(deployed: Deployed, run_id: str) -> dict[str, Any]:
    run = deployed.api.run(run_id)
    assert run["status"] == "running", run
    return run.get("search") or {"trials": []}


def test_the_best_of_its_trials_is_evaluated(deployed: Deployed) -> None:
    deployed.start_afresh()
    with changed(deployed, **QUICK):
        known = {run["run_id"] for run in deployed.api.runs()}
        deployed.drop({f"search/{path.name}": path.read_bytes() for path in OTHER_STORIES})
        run_id = wait_for_new_run(deployed.api, known, PATIENCE_S)
        going = wait_for(
            lambda: [t for t in _search(deployed, run_id)["trials"] if t["progress"]] or None, SEARCH_SECONDS
        )
        assert {trial["status"] for trial in going} == {"running"}
        wait_for(
            lambda: "Evaluate" in [s["name"] for s in deployed.api.run(run_id)["states"]] or None,
            SEARCH_SECONDS,
        )
    run = deployed.api.run(run_id)
    # What comes after the search is the same as without one, and has its tests.
    deployed.api.stop_run(run_id)
    search = run["search"]
    assert search["of"] == TRIALS
    losses = [trial["validation_loss"] for trial in search["trials"] if trial["status"] == "succeeded"]
    assert len(search["trials"]) == TRIALS
    (best,) = [trial for trial in search["trials"] if trial["best"]]
    assert best["validation_loss"] == min(losses)
    described = deployed.client("sagemaker").describe_training_job(TrainingJobName=run["training_job"])
    given = described["HyperParameters"]
    assert (int(given["lora_rank"]), float(given["learning_rate"])) == (
        best["lora_rank"],
        best["learning_rate"],
    )
    assert described["TuningJobArn"]
    deployed.finished_run(run_id)
    deployed.empty_bucket()
