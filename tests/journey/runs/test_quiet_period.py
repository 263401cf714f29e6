"""Many files that arrive within a minute make one run."""

from __future__ import annotations

import time

import pytest

from cli.run_progress import wait_for_new_run
from tests.journey.deployed_app import PATIENCE_S, Deployed

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

FILES = 200


def test_200_files_in_a_minute_start_exactly_one_run(deployed: Deployed) -> None:
    deployed.start_afresh()
    before = len(deployed.executions())
    known = {run["run_id"] for run in deployed.api.runs()}
    started = time.monotonic()
    deployed.drop({f"many/{n:03}.txt": f"Story {n}. Not much happens in it.".encode() for n in range(FILES)})
    assert time.monotonic() - started < 60
    run = deployed.finished_run(wait_for_new_run(deployed.api, known, PATIENCE_S))
    deployed.wait_for_rest()
    assert len(deployed.executions()) == before + 1
    assert run["files"] == FILES
