"""A deployment has asked for its prices, and says what the month costs."""

from __future__ import annotations

import pytest

from tests.journey.deployed_app import Deployed

pytestmark = [pytest.mark.cloud, pytest.mark.journey]


def test_the_prices_were_asked_at_the_deployment(deployed: Deployed) -> None:
    told = deployed.api.costs("")
    assert told["prices_read_at"] is not None
    assert told["prices_failure"] is None
    assert not told["unpriced"]
    assert {price["kind"] for price in told["prices"]} >= {"training", "processing", "hosting", "transform"}
    assert told["spent_usd"] == pytest.approx(
        sum(sum(day["spent_usd"].values()) for day in told["by_day"]), abs=0.01
    )
