"""Time and cost are estimated from known figures and never guessed."""

from collections.abc import Callable

import pytest

from stories.dataset.training_plan import INSTANCES, answer_tokens_per_second, estimate
from tests.unit.stories.material import Assembled, prose, read_all

_STORIES = {f"tale-of-{chr(97 + number)}.txt": prose(number).encode() for number in range(12)}


def test_training_never_takes_longer_than_its_limit() -> None:
    assert estimate(10**12, 1700, "ml.g6.xlarge", 240).minutes == 240
    assert estimate(10**6, 135, "ml.g6.xlarge", 3).minutes == 3


def test_cost_is_the_hours_of_training_and_evaluation() -> None:
    found = estimate(10**12, 1700, "ml.g6.xlarge", 230, usd_per_hour=1.13)
    assert found.on_demand_usd == pytest.approx(4 * 1.13)


def test_two_instances_train_faster_and_are_both_paid_for() -> None:
    one = estimate(10**9, 1700, "ml.g6.xlarge", 10_000, usd_per_hour=1.13)
    two = estimate(10**9, 1700, "ml.g6.xlarge", 10_000, instances=2, usd_per_hour=1.13)
    assert one.minutes / 2 < two.minutes < one.minutes * 0.6
    assert one.on_demand_usd and two.on_demand_usd and one.at_most_usd and two.at_most_usd
    assert one.on_demand_usd < two.on_demand_usd < one.on_demand_usd * 1.2
    assert two.at_most_usd > one.at_most_usd * 1.9


@pytest.mark.parametrize("instance", sorted(INSTANCES))
def test_more_text_and_larger_models_take_longer(instance: str) -> None:
    small, text, model = (
        estimate(tokens, millions, instance, 10_000).minutes
        for tokens, millions in ((10**7, 360), (10**8, 360), (10**7, 3000))
    )
    assert small < min(text, model)


def test_an_instance_of_unknown_speed_still_has_a_maximum(assembled: Callable[..., Assembled]) -> None:
    """A price without a speed still gives a maximum, because training has a time limit."""
    found = estimate(10**6, 1700, "ml.p4d.24xlarge", 60, usd_per_hour=25.0)
    assert found.minutes == 60
    assert found.at_most_usd == pytest.approx((60 + 30 + 120) / 60 * 25)


def test_a_price_that_is_not_known_is_not_guessed(assembled: Callable[..., Assembled]) -> None:
    report, _ = assembled(
        read_all(_STORIES), instance="ml.p99.huge", max_minutes=77, usd_per_hour=None, price_month=""
    )
    assert report.cost_estimate_usd is None
    assert report.training_minutes_estimate == 77
    assert "price of this instance type is not known" in report.verdict


def test_the_verdict_gives_time_and_cost(assembled: Callable[..., Assembled]) -> None:
    report, _ = assembled(read_all(_STORIES))
    assert report.enough
    assert f"${report.cost_estimate_usd:.2f}" in report.verdict
    assert report.price_date in report.verdict
    assert sum(report.languages.values()) == report.stories == 12


def test_answers_are_as_fast_as_half_of_the_memory_allows() -> None:
    # 8,030 million parameters are 16.06 GB to read for each token, the estimate uses 432 GB a second
    assert answer_tokens_per_second(8030, "ml.g6e.xlarge", 16) == pytest.approx(16 * 432 / 16.06, abs=0.1)


def test_a_small_model_is_not_as_fast_as_its_memory() -> None:
    assert answer_tokens_per_second(135, "ml.g6.xlarge", 16) == 1600


def test_an_unknown_speed_is_not_guessed() -> None:
    assert answer_tokens_per_second(135, "ml.g99.xlarge", 16) is None
    assert answer_tokens_per_second(0, "ml.g6.xlarge", 16) is None
