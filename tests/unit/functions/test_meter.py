"""The endpoint's costs: each second is counted once, in its month, despite races and crashes."""

from datetime import UTC, datetime, timedelta

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from chat_api.services import costs
from endpoint_manager.handler import handler as endpoint_manager
from shared import clock
from shared.hosting import endpoint
from shared.spending import ledger, meter
from shared.spending.ledger_entries import ConditionFailed
from shared.spending.meter import ObservedInstances
from shared.spending.spending_refused import LimitReached, PriceUnknown
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.sagemaker_stand_in import StandIn

MADE = datetime(2026, 9, 30, 12, tzinfo=UTC)
G6 = ObservedInstances({"ml.g6.xlarge": 1}, MADE)


def _after(**length: float) -> datetime:
    return MADE + timedelta(**length)


def _seconds(month: str = "2026-09") -> dict[str, float]:
    seconds: dict[str, float] = {}
    for entry in ledger.month(month).entries:
        if entry.seconds:
            seconds[entry.instance] = seconds.get(entry.instance, 0) + entry.seconds
    return seconds


@pytest.fixture(autouse=True)
def _limited(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "5")
    monkeypatch.setattr(clock, "now", lambda: MADE)


def test_costs_count_from_creation_to_the_end(resources: DeployedResources) -> None:
    meter.record(G6, _after(minutes=5))
    assert _seconds() == {"ml.g6.xlarge": 300}
    meter.close(G6, _after(minutes=7))
    meter.record(None, _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 420}


def test_an_endpoint_that_was_never_observed_is_counted(resources: DeployedResources) -> None:
    meter.close(G6, _after(minutes=3))
    assert _seconds() == {"ml.g6.xlarge": 180}


def test_an_outdated_observation_counts_nothing(resources: DeployedResources) -> None:
    meter.close(G6, _after(minutes=7))
    meter.record(G6, _after(minutes=6))
    assert (_seconds(), meter.read_meter().fleets) == ({"ml.g6.xlarge": 420}, {})


def test_an_end_at_the_time_of_an_observation_is_recorded(resources: DeployedResources) -> None:
    meter.record(G6, _after(minutes=5))
    meter.close(G6, _after(minutes=5))
    meter.record(None, _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 300}


def test_concurrent_observations_count_once(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter.record(G6, _after(minutes=5))
    stale = [meter.read_meter()]
    meter.record(G6, _after(minutes=10))
    real = meter.read_meter
    monkeypatch.setattr(meter, "read_meter", lambda: stale.pop() if stale else real())
    meter.record(G6, _after(minutes=11))
    assert _seconds() == {"ml.g6.xlarge": 660}


def test_an_interrupted_sleep_is_settled_by_the_next_observation(resources: DeployedResources) -> None:
    meter.record(G6, _after(minutes=5))
    meter.record(None, _after(minutes=10))
    meter.record(None, _after(minutes=15))
    assert _seconds() == {"ml.g6.xlarge": 600}


def test_an_interrupted_deletion_is_counted_until_its_request(resources: DeployedResources) -> None:
    meter.record(G6, _after(minutes=5))
    meter.record_deletion(G6, _after(minutes=6))
    meter.record(None, _after(minutes=10))
    assert (_seconds(), meter.read_meter().fleets) == ({"ml.g6.xlarge": 360}, {})


def test_a_deletion_that_never_happened_does_not_end_the_costs(resources: DeployedResources) -> None:
    meter.record_deletion(G6, _after(minutes=6))
    meter.record(G6, _after(minutes=10))
    meter.record(None, _after(minutes=15))
    assert _seconds() == {"ml.g6.xlarge": 900}


def test_an_endpoint_made_after_a_deletion_is_counted_separately(resources: DeployedResources) -> None:
    meter.record_deletion(G6, _after(minutes=6))
    meter.record(ObservedInstances({"ml.g6.xlarge": 1}, _after(minutes=9)), _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 420}


@pytest.mark.parametrize("restarts", [False, True])
def test_a_sleep_interrupted_after_the_deletion_adds_no_costs(
    resources: DeployedResources,
    awake_v1: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
    restarts: bool,
) -> None:
    made = (endpoint.describe() or pytest.fail("no endpoint")).created_at
    monkeypatch.setattr(clock, "now", lambda: made + timedelta(minutes=2))
    with monkeypatch.context() as dying:
        dying.setattr(meter, "close", lambda *_: pytest.fail("Lambda's time is over."))
        with pytest.raises(pytest.fail.Exception):
            endpoint_manager({"action": "sleep"}, context)
    monkeypatch.setattr(clock, "now", lambda: made + timedelta(minutes=7))
    endpoint_manager({"action": "wake" if restarts else "tick"}, context)
    (entry,) = ledger.month(f"{made:%Y-%m}").entries
    assert entry.seconds == pytest.approx(120, abs=0.1)


@pytest.mark.parametrize("found_by", ["tick", "sleep"])
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.usefixtures("live_v1")
def test_an_endpoint_that_the_guard_deletes_is_counted_until_it_is_gone(
    sagemaker: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
    refused: bool,
    found_by: str,
) -> None:
    made = datetime.now(UTC)
    monkeypatch.setattr(clock, "now", lambda: made)
    endpoint_manager({"action": "wake"}, context)
    if refused:
        # It is being created, so it cannot be deleted yet.
        monkeypatch.setattr(clock, "now", lambda: made + timedelta(minutes=1))
        sagemaker.refuses_to_delete = True
        endpoint_manager({"action": "sleep"}, context)
    sagemaker.endpoint = None
    sagemaker.refuses_to_delete = False
    monkeypatch.setattr(clock, "now", lambda: made + timedelta(minutes=40))
    endpoint_manager({"action": found_by}, context)
    assert sum(_seconds(f"{made:%Y-%m}").values()) == pytest.approx(40 * 60, abs=2)


@pytest.mark.parametrize(
    "failure",
    [("The container did not pass the ping health check.", 180), ("CapacityError: no machine was free.", 0)],
)
@pytest.mark.parametrize("found_by", ["tick", "deletion"])
@pytest.mark.usefixtures("live_v1")
def test_an_endpoint_that_failed_unobserved_is_counted_if_it_had_instances(
    sagemaker: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
    failure: tuple[str, float],
    found_by: str,
) -> None:
    reason, seconds = failure
    endpoint_manager({"action": "wake"}, context)
    made = (endpoint.describe() or pytest.fail("no endpoint")).created_at
    assert sagemaker.endpoint is not None
    failed = {"LastModifiedTime": made.timestamp() + 180, "FailureReason": reason, "EndpointStatus": "Failed"}
    sagemaker.endpoint.update(failed)
    monkeypatch.setattr(clock, "now", lambda: made + timedelta(minutes=5))
    if found_by == "tick":
        endpoint_manager({"action": "tick"}, context)
    else:
        endpoint.delete()
    assert sum(_seconds(f"{made:%Y-%m}").values()) == pytest.approx(seconds, abs=1)


def test_a_replaced_endpoint_is_counted_by_its_own_machine(resources: DeployedResources) -> None:
    meter.record(G6, _after(minutes=5))
    meter.record(ObservedInstances({"ml.g5.xlarge": 1}, _after(minutes=8)), _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 480, "ml.g5.xlarge": 120}


def test_a_new_month_starts_at_zero(resources: DeployedResources) -> None:
    meter.record(G6, _after(hours=11))
    meter.record(G6, _after(hours=13))
    assert (_seconds(), _seconds("2026-10")) == ({"ml.g6.xlarge": 12 * 3600}, {"ml.g6.xlarge": 3600})
    assert ledger.totals("2026-10").spent_usd == 1.13


def test_the_months_total_is_the_sum_of_its_entries(resources: DeployedResources) -> None:
    meter.record(G6, _after(minutes=60))
    assert costs.this_month_cost_usd() == 1.13
    (entry,) = ledger.month().entries
    assert (entry.kind, entry.instance, entry.day) == ("endpoint", "ml.g6.xlarge", "2026-09-30")


def test_no_total_is_shown_without_a_price(resources: DeployedResources) -> None:
    assert costs.this_month_cost_usd() == 0
    meter.record(ObservedInstances({"ml.p5en.48xlarge": 1}, MADE), _after(minutes=30))
    assert costs.this_month_cost_usd() is None
    assert _seconds() == {"ml.p5en.48xlarge": 1800}


def test_all_instances_are_counted(resources: DeployedResources) -> None:
    meter.record(ObservedInstances({"ml.g6.xlarge": 3}, MADE), _after(minutes=20))
    assert _seconds() == {"ml.g6.xlarge": 3600}
    assert costs.this_month_cost_usd() == 1.13


def test_instances_that_change_between_observations_count_for_the_whole_time(
    resources: DeployedResources,
) -> None:
    meter.record(G6, _after(minutes=5))
    meter.record(ObservedInstances({"ml.g6.xlarge": 2}, MADE), _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 900}
    meter.close(G6, _after(minutes=15))
    assert _seconds() == {"ml.g6.xlarge": 1500}


def test_an_update_is_counted_by_sagemakers_times(resources: DeployedResources) -> None:
    meter.record(G6, _after(minutes=5))
    both = {"ml.g6.xlarge": 1, "ml.g5.xlarge": 1}
    meter.record(ObservedInstances(both, MADE, changed_at=_after(minutes=6), busy=True), _after(minutes=10))
    assert _seconds() == {"ml.g6.xlarge": 600, "ml.g5.xlarge": 240}
    new = {"ml.g5.xlarge": 1}
    meter.record(ObservedInstances(new, MADE, changed_at=_after(minutes=12)), _after(minutes=15))
    assert _seconds() == {"ml.g6.xlarge": 720, "ml.g5.xlarge": 540}


def test_an_unobserved_update_is_counted_in_addition(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter.record(G6, _after(minutes=5))
    monkeypatch.setattr(clock, "now", lambda: _after(minutes=6))
    meter.reserve_start("ml.g5.xlarge")
    updated = ObservedInstances({"ml.g5.xlarge": 1}, MADE, changed_at=_after(minutes=13))
    meter.record(updated, _after(minutes=20))
    meter.record(updated, _after(minutes=21))
    assert _seconds() == {"ml.g6.xlarge": 13 * 60, "ml.g5.xlarge": (7 + 8) * 60}


@pytest.mark.aws_fact
def test_an_update_is_counted_from_its_request_if_it_is_first_seen_rolling_back(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter.record(G6, _after(minutes=5))
    monkeypatch.setattr(clock, "now", lambda: _after(minutes=6))
    meter.reserve_start("ml.g6.xlarge")
    both = ObservedInstances({"ml.g6.xlarge": 2}, MADE, changed_at=_after(minutes=16), busy=True)
    meter.record(both, _after(minutes=16))
    assert _seconds() == {"ml.g6.xlarge": (16 + 10) * 60}
    meter.record(
        ObservedInstances({"ml.g6.xlarge": 1}, MADE, changed_at=_after(minutes=18)), _after(minutes=21)
    )
    assert _seconds() == {"ml.g6.xlarge": (21 + 12) * 60}


def test_instances_that_scaling_added_are_counted_while_they_start(resources: DeployedResources) -> None:
    meter.record(G6, _after(minutes=5))
    meter.record(
        ObservedInstances({"ml.g6.xlarge": 3}, MADE, changed_at=_after(minutes=9)), _after(minutes=10)
    )
    assert _seconds() == {"ml.g6.xlarge": (5 + 3 * 5) * 60}


@pytest.mark.parametrize(("accepted", "seconds"), [(True, 40 * 60), (False, 0)])
def test_a_created_endpoint_is_counted_even_if_nobody_ever_observes_it(
    resources: DeployedResources, accepted: bool, seconds: float
) -> None:
    meter.reserve_start("ml.g6.xlarge")
    if accepted:
        meter.confirm_start()
    meter.record(None, _after(minutes=40))
    meter.record(None, _after(minutes=45))
    assert sum(_seconds().values()) == seconds
    assert ledger.totals().reserved_usd == 0


def test_an_update_is_counted_even_if_the_endpoint_is_gone_before_it_is_observed(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter.record(G6, _after(minutes=5))
    monkeypatch.setattr(clock, "now", lambda: _after(minutes=6))
    meter.reserve_start("ml.g5.xlarge")
    meter.confirm_start()
    meter.record(None, _after(minutes=20))
    assert _seconds() == {"ml.g6.xlarge": 20 * 60, "ml.g5.xlarge": 14 * 60}


def test_an_update_that_never_happened_costs_nothing(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = ObservedInstances({"ml.g6.xlarge": 1}, MADE, changed_at=_after(minutes=1))
    meter.record(settled, _after(minutes=5))
    monkeypatch.setattr(clock, "now", lambda: _after(minutes=6))
    meter.reserve_start("ml.g6.xlarge")
    meter.record(settled, _after(minutes=20))
    assert _seconds() == {"ml.g6.xlarge": 20 * 60}


def test_a_start_is_reserved_before_it_begins(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter.reserve_start("ml.g6.xlarge")
    assert ledger.totals().reserved_usd == pytest.approx(1.13 * 45 / 60, abs=1e-5)
    monkeypatch.setattr(clock, "now", lambda: _after(minutes=1))
    meter.record(None, _after(minutes=1))
    assert ledger.totals().reserved_usd > 0.8, "SageMaker may not show it yet"
    starting = ObservedInstances({"ml.g6.xlarge": 1}, MADE, changed_at=MADE, busy=True)
    meter.extend_lease(starting, _after(minutes=5))
    sums = ledger.totals()
    assert sums.spent_usd == pytest.approx(1.13 * 5 / 60, abs=1e-5)
    assert sums.spent_usd + sums.reserved_usd == pytest.approx(1.13 * 45 / 60, abs=1e-5)
    meter.extend_lease(G6, _after(minutes=10))
    assert ledger.totals().reserved_usd == pytest.approx(1.13 * 15 / 60, abs=1e-5)
    meter.close(G6, _after(minutes=12))
    assert ledger.totals().reserved_usd == 0
    assert ledger.totals().spent_usd == pytest.approx(0.226, abs=1e-5)


def test_a_start_that_could_not_be_recorded_is_an_error(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def always_changed(*_: object, **__: object) -> None:
        raise ConditionFailed

    monkeypatch.setattr(meter, "post", always_changed)
    with pytest.raises(RuntimeError, match="Try again"):
        meter.reserve_start("ml.g6.xlarge")


def test_the_lease_of_a_start_that_never_happened_is_released(resources: DeployedResources) -> None:
    meter.reserve_start("ml.g6.xlarge")
    meter.record(None, _after(minutes=5))
    assert (ledger.totals().reserved_usd, ledger.totals().spent_usd) == (0, 0)


def test_an_unaffordable_start_is_refused(resources: DeployedResources) -> None:
    ledger.reserve("training", "job", "ml.g6.xlarge", 4.5)
    with pytest.raises(LimitReached):
        meter.reserve_start("ml.g6.xlarge")
    with pytest.raises(PriceUnknown):
        meter.reserve_start("ml.p5en.48xlarge")
    assert ledger.totals().reserved_usd == 4.5


def test_costs_are_counted_even_if_the_lease_cannot_be_extended(resources: DeployedResources) -> None:
    ledger.reserve("training", "job", "ml.g6.xlarge", 4.9)
    with pytest.raises(LimitReached):
        meter.extend_lease(G6, _after(minutes=5))
    assert ledger.totals().spent_usd == pytest.approx(1.13 * 5 / 60, abs=1e-5)


def test_a_lease_moves_to_the_next_month(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_MONTHLY_LIMIT_USD", "50")
    meter.extend_lease(G6, _after(hours=11, minutes=58))
    meter.extend_lease(G6, _after(hours=12, minutes=3))
    september, october = ledger.totals("2026-09"), ledger.totals("2026-10")
    assert september.reserved_usd == 0
    assert october.reserved_usd == pytest.approx(1.13 * 15 / 60, abs=1e-5)
    assert october.spent_usd == pytest.approx(1.13 * 3 / 60, abs=1e-5)


def test_instances_that_scaling_may_add_are_reserved(resources: DeployedResources) -> None:
    meter.extend_lease(G6, _after(minutes=1), most_instances=3)
    assert ledger.totals().reserved_usd == pytest.approx(3 * 1.13 * 15 / 60, abs=1e-5)


def test_extending_a_lease_needs_money_for_what_was_used(resources: DeployedResources) -> None:
    meter.extend_lease(G6, _after(minutes=1))
    ledger.reserve("training", "job", "ml.g6.xlarge", 5 - 1.13 * 16 / 60 - 0.001)
    with pytest.raises(LimitReached):
        meter.extend_lease(G6, _after(minutes=6))
    sums = ledger.totals()
    assert sums.spent_usd + sums.reserved_usd <= 5
