"""Many files make one run; a file that comes while a run is on makes exactly one more, after it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cli.progress import wait_for_new_run
from tests.journey.conftest import PATIENCE_S, Deployed, FirstDrop

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

FILES = 200


def test_200_files_in_a_minute_start_exactly_one_run(deployed: Deployed, first_run: dict[str, Any]) -> None:
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


def test_a_file_dropped_while_it_trains_starts_exactly_one_run_afterwards(
    deployed: Deployed, first_drop: FirstDrop
) -> None:
    assert len(first_drop.executions) == 2
    second, first = first_drop.executions
    assert first["name"] == first_drop.run["run_id"]
    assert second["startDate"] >= first["stopDate"]
    assert deployed.api.run(second["name"])["files"] == 1
