"""The instances that the settings may have billed, and those without a price."""

from contracts.settings import Settings
from stacks import prices

REGION = "us-east-1"


def _settings(**changes: object) -> Settings:
    return Settings.model_validate(changes)


def test_everything_that_the_settings_name_is_billed_by_kind() -> None:
    billed = set(prices.billed(_settings(training_instance="ml.p5.48xlarge")))
    assert ("training", "ml.p5.48xlarge") in billed
    assert ("processing", "ml.p5.48xlarge") not in billed, "SageMaker has no processing jobs on it"
    assert {
        ("processing", "ml.g6.xlarge"),
        ("hosting", "ml.g6e.xlarge"),
        ("transform", "ml.g5.xlarge"),
    } <= billed


def test_the_default_settings_have_every_price() -> None:
    assert not prices.unpriced(_settings(), REGION)


def test_instances_without_a_price_are_listed_until_one_is_given() -> None:
    without = _settings(training_instance="ml.p5.4xlarge")
    assert prices.unpriced(without, REGION) == [
        ("training", "ml.p5.4xlarge"),
        ("processing", "ml.p5.4xlarge"),
    ]
    given = _settings(training_instance="ml.p5.4xlarge", instance_prices_usd={"ml.p5.4xlarge": 7.9})
    assert not prices.unpriced(given, REGION)
    found = prices.known(given, "training", "ml.p5.4xlarge", REGION, "2026-11-30")
    assert found is not None and found.usd_per_hour == 7.9


def test_an_unread_region_has_no_prices() -> None:
    settings = _settings()
    assert set(prices.unpriced(settings, "sa-east-1")) == set(prices.billed(settings))
