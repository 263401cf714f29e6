"""Many files make one run; a file that comes while a run is on makes exactly one more, after it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.journey.conftest import LONG_ENOUGH_S, Deployed, FirstDrop, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

FILES = 200


def test_200_files_in_a_minute_start_exactly_one_run(deployed: Deployed, first_run: dict[str, Any]) -> None:
    deployed.empty_bucket()
    time.sleep(LONG_ENOUGH_S)
    before = len(deployed.executions())
    started = time.monotonic()
    deployed.drop({f"many/{n:03}.txt": f"Story {n}. Not much happens in it.".encode() for n in range(FILES)})
    assert time.monotonic() - started < 60
    wait_for(lambda: len(deployed.executions()) > before or None, 90)
    time.sleep(LONG_ENOUGH_S)
    assert len(deployed.executions()) == before + 1
    newest = deployed.api.runs()[0]
    assert deployed.finished_run(newest["run_id"])["files"] == FILES


def test_a_file_dropped_while_it_trains_starts_exactly_one_run_afterwards(
    deployed: Deployed, first_drop: FirstDrop
) -> None:
    assert len(first_drop.executions) == 2
    second, first = first_drop.executions
    assert first["name"] == first_drop.run["run_id"]
    assert second["startDate"] >= first["stopDate"]
    assert deployed.api.run(second["name"])["files"] == 1
