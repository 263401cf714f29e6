"""The month's ledger: reserved once, within the limit, and settled once, despite races and crashes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from shared import clock, table
from shared.spending import ledger
from shared.spending.ledger import LimitReached, PriceUnknown
from tests.unit.functions.conftest import DeployedResources

NOON = datetime(2026, 9, 30, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _at_noon(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "5")
    monkeypatch.setattr(clock, "now", lambda: NOON)


def _sums() -> tuple[float, float]:
    sums = ledger.totals()
    return sums.spent_usd, sums.reserved_usd


def test_a_reservation_is_settled_with_the_billed_cost() -> None:
    ledger.reserve("training", "job", "ml.g6.xlarge", 2.5)
    assert _sums() == (0, 2.5)
    assert ledger.totals().left_usd == 2.5
    assert ledger.settle("training", "job", 0.7, started_at=NOON)
    assert _sums() == (0.7, 0)
    (entry,) = ledger.month().entries
    assert (entry.kind, entry.id, entry.day) == ("training", "job", "2026-09-30")
    assert (entry.spent_usd, entry.reserved_usd) == (0.7, 0)
    assert entry.started_at == entry.ended_at == "2026-09-30T12:00:00.000Z"


def test_a_duplicate_call_counts_once() -> None:
    for _ in range(2):
        ledger.reserve("batch", "b", "ml.g6.xlarge", 1)
    assert _sums() == (0, 1)
    assert [ledger.settle("batch", "b", 0.4) for _ in range(2)] == [True, False]
    assert ledger.reserve("batch", "b", "ml.g6.xlarge", 1) is None
    assert _sums() == (0.4, 0)


def test_exceeding_the_limit_is_refused_with_figures() -> None:
    ledger.reserve("training", "job", "ml.g6.xlarge", 4)
    with pytest.raises(LimitReached) as refused:
        ledger.reserve("evaluation", "job", "ml.g6.xlarge", 1.000001)
    why = refused.value
    assert (why.spent_usd, why.reserved_usd, why.asked_usd, why.limit_usd) == (0, 4, 1.000001, 5)
    assert "$1.00 is left" in str(why)
    assert "monthly_limit_usd" in why.cure
    assert ledger.open_reservation("evaluation", "job") is None
    ledger.reserve("evaluation", "job", "ml.g6.xlarge", 1)
    assert ledger.totals().left_usd == 0


def test_more_than_the_whole_limit_is_refused_in_an_empty_month() -> None:
    with pytest.raises(LimitReached):
        ledger.reserve("training", "job", "ml.g6.xlarge", 6)
    assert ledger.month().entries == []


def test_concurrent_reservations_never_exceed_the_limit() -> None:
    def ask(number: int) -> bool:
        try:
            ledger.reserve("batch", f"b{number}", "ml.g6.xlarge", 1.5)
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, range(12)))
    assert got.count(True) == 3
    assert _sums() == (0, 4.5)
    assert len(ledger.open_reservations()) == 3


def test_a_reservation_is_extended_only_within_the_limit() -> None:
    ledger.reserve("notebook", "n", "ml.g6.xlarge", 1)
    ledger.extend_reservation("notebook", "n", most_usd=3, spent_usd=0.5)
    assert _sums() == (0.5, 2.5)
    with pytest.raises(LimitReached):
        ledger.extend_reservation("notebook", "n", most_usd=5.5, spent_usd=1)
    assert _sums() == (0.5, 2.5)
    ledger.settle("notebook", "n", 0.6)
    assert _sums() == (0.6, 0)


def test_a_running_job_is_counted_despite_the_limit() -> None:
    ledger.reserve("training", "by hand", "ml.g6.xlarge", 7, limited=False)
    ledger.settle("training", "by hand", 7)
    assert _sums() == (7, 0)
    assert ledger.totals().left_usd == 0


def test_a_cost_counts_in_the_month_of_its_reservation(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.reserve("training", "job", "ml.g6.xlarge", 2)
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(days=1))
    assert _sums() == (0, 0)
    ledger.reserve("training", "next", "ml.g6.xlarge", 5)
    assert ledger.settle("training", "job", 1)
    september, october = ledger.totals("2026-09"), ledger.totals("2026-10")
    assert (september.spent_usd, september.reserved_usd) == (1, 0)
    assert (october.spent_usd, october.reserved_usd) == (0, 5)
    assert ledger.reserve("training", "job", "ml.g6.xlarge", 2) is None


def test_an_unknown_price_is_refused_under_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PriceUnknown) as refused:
        ledger.reserve("training", "job", "ml.p5en.48xlarge", None)
    assert "ml.p5en.48xlarge" in str(refused.value)
    assert "instance_prices_usd" in refused.value.cure
    monkeypatch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "0")
    ledger.reserve("training", "job", "ml.p5en.48xlarge", None)
    sums = ledger.totals()
    assert (sums.limit_usd, sums.left_usd) == (None, None)
    assert sums.unpriced == {"ml.p5en.48xlarge"}


def test_without_a_limit_everything_is_counted_and_nothing_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "0")
    ledger.reserve("training", "job", "ml.g6.xlarge", 1000)
    assert _sums() == (0, 1000)


def test_require_refuses_like_reserve_and_reserves_nothing() -> None:
    ledger.require_budget("training", 5, "ml.g6.xlarge")
    with pytest.raises(LimitReached):
        ledger.require_budget("training", 5.01, "ml.g6.xlarge")
    with pytest.raises(PriceUnknown):
        ledger.require_budget("training", None, "ml.p5en.48xlarge")
    assert table.get("LEDGER", "2026-09") is None
