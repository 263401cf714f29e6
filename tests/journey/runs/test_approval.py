"""A run that asks before it trains: really waiting in the state machine, answered, or replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cli.console import CommandError
from cli.run_progress import wait_for_new_run
from tests.journey.deployed_app import PATIENCE_S, STORIES, Deployed, wait_for
from tests.journey.permissions import without
from tests.journey.settings import changed

pytestmark = [pytest.mark.cloud, pytest.mark.journey]


@pytest.fixture(scope="module")
def asking(deployed: Deployed) -> Iterator[Deployed]:
    """The same deployment with the setting on."""
    deployed.start_afresh()
    with changed(deployed, STORYLOOM_ASK_BEFORE_TRAINING="true"):
        yield deployed
    deployed.empty_bucket()


def _waits(deployed: Deployed, run_id: str) -> dict[str, Any]:
    def waiting() -> dict[str, Any] | None:
        run = deployed.api.run(run_id)
        assert run["status"] in {"running", "waiting"}, run
        return run if run["status"] == "waiting" else None

    return wait_for(waiting)


def _drop_stories(deployed: Deployed, folder: str) -> str:
    """Drop stories into the empty bucket; returns the run that they start."""
    deployed.start_afresh()
    known = {run["run_id"] for run in deployed.api.runs()}
    deployed.drop({f"{folder}/{path.name}": path.read_bytes() for path in STORIES})
    return wait_for_new_run(deployed.api, known, PATIENCE_S)


def test_a_declined_run_spends_nothing_and_releases_the_lock(asking: Deployed) -> None:
    live = asking.api.status()["live"]
    files = len(STORIES)
    run = _waits(asking, _drop_stories(asking, "declined"))
    assert run["step"] == "AwaitApproval"
    assert run["report"]["verdict"] in run["message"]
    assert f"(prices of {run['report']['price_date']})" in run["message"]
    assert not run.get("training_job")

    asking.api.decline(run["run_id"])
    ended = asking.finished_run(run["run_id"])
    assert ended["status"] == "declined", ended
    assert "nothing was spent" in ended["message"]
    names = [state["name"] for state in ended["states"]]
    assert "StageBaseModel" not in names
    assert names[-1] == "Announce"
    asking.api.decline(run["run_id"])
    with pytest.raises(CommandError, match="already been declined"):
        asking.api.approve(run["run_id"])
    assert len(asking.api.stories()) == files
    assert asking.api.status()["live"] == live


def test_stories_that_arrive_supersede_the_run_that_waits(asking: Deployed) -> None:
    """And exactly one run follows it, which reads all of them, asks, and trains when it is approved."""
    first = _waits(asking, _drop_stories(asking, "replaced"))
    executions = len(asking.executions())
    known = {run["run_id"] for run in asking.api.runs()}
    asking.drop({"replaced/one-more.txt": b"A story that came while the others waited. " * 20})
    ended = asking.finished_run(first["run_id"])
    assert ended["status"] == "superseded", ended
    second = _waits(asking, wait_for_new_run(asking.api, known, PATIENCE_S))
    assert second["files"] == first["files"] + 1

    # The answer is written, but Step Functions cannot be told: given again, it is delivered.
    with without(asking, "ChatApiRole", "states:SendTaskSuccess"):
        with pytest.raises(CommandError, match="went wrong"):
            asking.api.approve(second["run_id"])
        assert asking.api.run(second["run_id"])["status"] == "waiting"
    approved = asking.api.approve(second["run_id"])
    assert "approved the run" in approved["message"] or approved["step"] != "AwaitApproval"

    def training() -> dict[str, Any] | None:
        run = asking.api.run(second["run_id"])
        return run if "Train" in [state["name"] for state in run["states"]] else None

    run = wait_for(training)
    assert run["status"] == "running"
    asking.client("stepfunctions").stop_execution(executionArn=run["execution_arn"])
    assert asking.finished_run(second["run_id"])["status"] == "failed"
    asking.empty_bucket()
    asking.wait_for_rest()
    assert len(asking.executions()) == executions + 1


def test_answering_needs_a_sign_in(asking: Deployed) -> None:
    for answer in ("approve", "decline"):
        response = httpx.post(
            f"{asking.api.connection.url}/api/runs/20260101-000000-0000/{answer}", timeout=PATIENCE_S
        )
        assert response.status_code == 401
    with pytest.raises(CommandError, match="There is no run"):
        asking.api.approve("20260101-000000-0000")
