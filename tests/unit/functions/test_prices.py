"""Which price applies, and how it is read from AWS: a failure removes no price and fails no deployment."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError, EndpointConnectionError

from price_list import aws_price_list
from price_list.aws_price_list import PriceListError
from price_list.price import Price
from refresh_prices import handler as refresh_prices
from shared import clock
from shared.aws import custom_resource
from shared.spending import prices
from tests.unit.functions.conftest import DeployedResources

G6, G5 = "ml.g6.xlarge", "ml.g5.xlarge"
Ask = Callable[[Any, str, str], dict[str, float]]


@pytest.fixture
def nothing_given(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> DeployedResources:
    """Deployed resources whose settings give no price."""
    monkeypatch.setenv("STORYLOOM_INSTANCE_PRICES", "{}")
    return resources


def _answers(monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.setattr(aws_price_list, "ask", ask)


def _on(monkeypatch: pytest.MonkeyPatch, day: str) -> None:
    monkeypatch.setattr(clock, "day", lambda: day)


def test_a_price_given_by_hand_wins(resources: DeployedResources) -> None:
    prices.store_listed({G6: {"hosting": 9.0}})
    assert prices.usd_per_hour("hosting", G6) == Price(1.13, clock.day(), "the setting instance_prices_usd")


def test_the_newer_of_shipped_and_listed_prices_wins(
    nothing_given: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = prices.usd_per_hour("hosting", G6)
    assert shipped is not None and shipped.usd_per_hour == 1.127
    _on(monkeypatch, "2020-01-01")
    prices.store_listed({G6: {"hosting": 9.0}})
    assert prices.usd_per_hour("hosting", G6) == shipped, "a list that was read before ours is older"
    _on(monkeypatch, "2027-01-01")
    prices.store_listed({G6: {"hosting": 1.2}})
    assert prices.usd_per_hour("hosting", G6) == Price(1.2, "2027-01-01", "AWS's price list of us-east-1")


def test_each_kind_has_its_own_price(
    nothing_given: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    _on(monkeypatch, "2027-01-01")
    prices.store_listed({G6: {"hosting": 1.2}})
    prices.store_listed({G6: {"training": 1.4}})
    wanted: list[tuple[prices.Kind, str]] = [
        ("hosting", G6),
        ("training", G6),
        ("transform", "ml.p5.48xlarge"),
    ]
    found = prices.usd_per_hour_of_all(wanted)
    assert [price and price.usd_per_hour for price in found.values()] == [1.2, 1.4, None]


def test_the_price_of_another_region_is_not_used(
    nothing_given: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "sa-east-1")
    assert prices.usd_per_hour("hosting", G6) is None


def test_each_instance_of_the_settings_is_asked_for_once(
    nothing_given: DeployedResources, monkeypatch: pytest.MonkeyPatch, context: LambdaContext
) -> None:
    asked: list[tuple[str, str]] = []

    def ask(pricing: Any, instance: str, region: str) -> dict[str, float]:
        asked.append((instance, region))
        return {"hosting": 2.0}

    _answers(monkeypatch, ask)
    _on(monkeypatch, "2027-01-01")
    assert refresh_prices.handler({}, context) == {"kept": [G5, G6], "failure": None}
    assert asked == [(G6, "us-east-1"), (G5, "us-east-1")]
    assert prices.usd_per_hour("hosting", G5) == Price(2.0, "2027-01-01", "AWS's price list of us-east-1")
    assert prices.last_refresh().failure is None
    assert prices.last_refresh().succeeded_at is not None


_DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetProducts")


@pytest.mark.parametrize(
    "error", [_DENIED, EndpointConnectionError(endpoint_url="https://api.pricing"), PriceListError("odd")]
)
def test_a_failure_keeps_the_old_price_and_is_reported(
    nothing_given: DeployedResources,
    monkeypatch: pytest.MonkeyPatch,
    context: LambdaContext,
    error: Exception,
) -> None:
    _on(monkeypatch, "2027-01-01")
    prices.store_listed({G6: {"hosting": 1.2}, G5: {"hosting": 1.5}})

    def ask(pricing: Any, instance: str, region: str) -> dict[str, float]:
        if instance == G6:
            raise error
        return {"hosting": 1.6}

    _answers(monkeypatch, ask)
    outcome = refresh_prices.handler({}, context)
    assert outcome["kept"] == [G5] and G6 in outcome["failure"]
    before, now = prices.usd_per_hour("hosting", G6), prices.usd_per_hour("hosting", G5)
    assert before is not None and now is not None
    assert (before.usd_per_hour, now.usd_per_hour) == (1.2, 1.6)
    assert prices.last_refresh().failure == outcome["failure"]
    _answers(monkeypatch, lambda *_: {"hosting": 1.6})
    refresh_prices.handler({}, context)
    assert prices.last_refresh().failure is None, "a failure that is over is forgotten"


@pytest.mark.aws_fact
def test_the_second_region_of_the_api_answers_if_the_first_does_not(
    nothing_given: DeployedResources, monkeypatch: pytest.MonkeyPatch, context: LambdaContext
) -> None:
    def ask(pricing: Any, instance: str, region: str) -> dict[str, float]:
        if pricing.meta.region_name == "us-east-1":
            raise EndpointConnectionError(endpoint_url="https://api.pricing")
        return {"hosting": 1.6}

    _answers(monkeypatch, ask)
    assert refresh_prices.handler({}, context)["failure"] is None


@pytest.mark.aws_fact
@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_no_failure_fails_a_deployment(
    nothing_given: DeployedResources, monkeypatch: pytest.MonkeyPatch, context: LambdaContext, kind: str
) -> None:
    def ask(pricing: Any, instance: str, region: str) -> dict[str, float]:
        raise RuntimeError("nobody foresaw this")

    answers: list[tuple[str, str]] = []
    _answers(monkeypatch, ask)
    monkeypatch.setattr(
        custom_resource, "respond", lambda event, physical_id, reason: answers.append((physical_id, reason))
    )
    event = {"RequestType": kind, "ResponseURL": "https://cloudformation"}
    refresh_prices.handler(event, context)
    assert answers == [("storyloom-prices", "")]


@pytest.mark.aws_fact
def test_the_api_is_called_in_a_region_with_an_endpoint() -> None:
    offered = boto3.Session().get_available_regions("pricing")
    assert set(aws_price_list.ENDPOINT_REGIONS) <= set(offered)
