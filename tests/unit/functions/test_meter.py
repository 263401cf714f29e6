"""What the endpoint costs: each second counted once, in its month, whoever looks and whoever dies."""

from datetime import UTC, datetime, timedelta

import pytest

from chat_api import costs
from shared import clock, meter
from shared.meter import Machine
from tests.unit.functions.conftest import House

MADE = datetime(2026, 9, 30, 12, tzinfo=UTC)
G6 = Machine("ml.g6.xlarge", MADE)


def _after(**length: float) -> datetime:
    return MADE + timedelta(**length)


def _seconds() -> dict[str, float]:
    return meter.read().seconds


def test_it_counts_from_when_the_endpoint_was_made_to_its_end(house: House) -> None:
    meter.look(G6, _after(minutes=5))
    assert _seconds() == {"ml.g6.xlarge": 300}
    meter.end(G6, _after(minutes=7))
    meter.look(None, _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 420}


def test_what_nobody_looked_at_before_its_end_is_counted(house: House) -> None:
    meter.end(G6, _after(minutes=3))
    assert _seconds() == {"ml.g6.xlarge": 180}


def test_a_look_that_comes_late_counts_nothing(house: House) -> None:
    meter.end(G6, _after(minutes=7))
    meter.look(G6, _after(minutes=6))
    assert (_seconds(), meter.read().instance) == ({"ml.g6.xlarge": 420}, None)


def test_an_end_in_the_instant_of_a_look_ends_it(house: House) -> None:
    meter.look(G6, _after(minutes=5))
    meter.end(G6, _after(minutes=5))
    meter.look(None, _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 300}


def test_racing_looks_count_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    meter.look(G6, _after(minutes=5))
    stale = [meter.read()]
    meter.look(G6, _after(minutes=10))
    real = meter.read
    monkeypatch.setattr(meter, "read", lambda: stale.pop() if stale else real())
    meter.look(G6, _after(minutes=11))
    assert _seconds() == {"ml.g6.xlarge": 660}


def test_a_sleep_that_died_is_settled_by_the_next_look(house: House) -> None:
    meter.look(G6, _after(minutes=5))
    meter.look(None, _after(minutes=10))
    meter.look(None, _after(minutes=15))
    assert _seconds() == {"ml.g6.xlarge": 600}


def test_another_machine_is_counted_by_itself(house: House) -> None:
    meter.look(G6, _after(minutes=5))
    meter.look(Machine("ml.g5.xlarge", _after(minutes=8)), _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 480, "ml.g5.xlarge": 120}


def test_a_month_begins_at_nothing(house: House) -> None:
    meter.look(G6, _after(hours=11))
    meter.look(G6, _after(hours=13))
    assert (meter.read().month, _seconds()) == ("2026-10", {"ml.g6.xlarge": 3600})


def test_the_price_of_the_month_has_what_runs_now(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    meter.look(G6, _after(minutes=30))
    monkeypatch.setattr(clock, "now", lambda: _after(hours=1))
    assert costs.this_month_usd() == 1.13
    monkeypatch.setattr(clock, "now", lambda: _after(hours=13))
    assert costs.this_month_usd() == 1.13, "since midnight"


def test_without_a_price_no_sum_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert costs.this_month_usd() == 0
    monkeypatch.setattr(clock, "now", lambda: _after(hours=1))
    meter.look(Machine("ml.p5en.48xlarge", MADE), _after(minutes=30))
    assert costs.this_month_usd() is None


def test_every_machine_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    meter.look(Machine("ml.g6.xlarge", MADE, instances=3), _after(minutes=5))
    assert _seconds() == {"ml.g6.xlarge": 900}
    monkeypatch.setattr(clock, "now", lambda: _after(minutes=20))
    assert costs.this_month_usd() == round(1.13, 4)


def test_machines_that_came_or_went_between_two_looks_count_for_all_of_it(house: House) -> None:
    meter.look(G6, _after(minutes=5))
    meter.look(Machine("ml.g6.xlarge", MADE, instances=2), _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 900}
    meter.end(G6, _after(minutes=15))
    assert _seconds() == {"ml.g6.xlarge": 1500}
