"""A file that comes while a run is on makes exactly one more run, after it."""

from __future__ import annotations

import pytest

from tests.journey.deployed_app import Deployed
from tests.journey.trained.conftest import FirstDrop

pytestmark = [pytest.mark.cloud, pytest.mark.journey]


def test_a_file_dropped_while_it_trains_starts_exactly_one_run_afterwards(
    deployed: Deployed, first_drop: FirstDrop
) -> None:
    assert len(first_drop.executions) == 2
    second, first = first_drop.executions
    assert first["name"] == first_drop.run["run_id"]
    assert second["startDate"] >= first["stopDate"]
    assert deployed.api.run(second["name"])["files"] == 1
