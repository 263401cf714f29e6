"""An earlier version answers again, at once if it is still loaded."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.journey.deployed_app import Deployed, wait_for
from tests.journey.versions import activate

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

SECONDS = 60
"""For a run of two functions; on a quiet machine it takes five."""


def test_what_is_loaded_answers_at_once(
    deployed: Deployed, first_run: dict[str, Any], another_version: str
) -> None:
    activate(deployed, another_version)
    deployed.answers_as(another_version)
    # the engine of the first version ends when it has nothing more to answer
    (engine,) = wait_for(lambda: engines if len(engines := deployed.engines()) == 1 else None)

    started = time.monotonic()
    back = activate(deployed, first_run["version"])
    deployed.answers_as(first_run["version"])
    assert time.monotonic() - started < SECONDS
    assert {"Deploy", "SmokeTest"}.isdisjoint(state["name"] for state in back["states"])
    assert back["message"].startswith(f"{first_run['version']} is live")
    assert deployed.engines() == [engine], "nothing was started for it"
    assert deployed.api.status()["live"]["version"] == first_run["version"]
