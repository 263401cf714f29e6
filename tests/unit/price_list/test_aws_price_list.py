"""What is read from AWS's Price List API, stubbed by botocore, which validates every request and answer."""

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from price_list import aws_price_list
from price_list.aws_price_list import PriceListError
from price_list.price import Kind


def product(component: str, usd: str, *, unit: str = "Hrs", term: str = "OnDemand", **attributes: str) -> str:
    """One product as AWS writes it: JSON in a string, each price under two codes of its own."""
    dimension = {"unit": unit, "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": usd}}
    named = {"component": component, "instanceName": "ml.g6.xlarge", "regionCode": "us-east-1", **attributes}
    terms = {term: {"SKU.JRTCKXETXF": {"priceDimensions": {"SKU.JRTCKXETXF.6YS6EN2CT7": dimension}}}}
    return json.dumps({"product": {"sku": "SKU", "attributes": named}, "terms": terms})


@pytest.fixture
def pricing() -> Any:
    return boto3.client("pricing", "us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")


def _ask(pricing: Any, *pages: list[str]) -> dict[Kind, float]:
    with Stubber(pricing) as stubber:
        for number, page in enumerate(pages):
            more = {"NextToken": str(number)} if number + 1 < len(pages) else {}
            stubber.add_response("get_products", {"PriceList": page, **more})
        return dict(aws_price_list.ask(pricing, "ml.g6.xlarge", "us-east-1"))


@pytest.mark.aws_fact
def test_each_kind_has_its_own_price_over_all_pages(pricing: Any) -> None:
    first = [product("Training", "1.1270000000"), product("Hosting", "1.1267"), product("Notebook", "1.13")]
    found = _ask(pricing, first, [product("Processing", "1.128"), product("BatchTransform", "1.129")])
    assert found == {
        "training": 1.127,
        "hosting": 1.1267,
        "notebook": 1.13,
        "processing": 1.128,
        "transform": 1.129,
    }


@pytest.mark.aws_fact
def test_other_terms_and_products_are_ignored(pricing: Any) -> None:
    assert not _ask(
        pricing,
        [
            product("Training", "0.0000000000"),  # a free tier
            product("Training", "0.4", term="Reserved"),
            product("Training", "0.02", unit="GB-Mo"),
            product("SpotTraining", "0.3"),
            product("Studio-JupyterLab", "1.2"),
            product("AsyncInf", "1.1"),
        ],
    )


def test_older_products_have_their_kind_in_another_attribute(pricing: Any) -> None:
    assert _ask(pricing, [product("", "1.2", platoinstancetype="Batch Transform")]) == {"transform": 1.2}


def test_the_higher_of_two_prices_counts(pricing: Any) -> None:
    assert _ask(pricing, [product("Hosting", "1.2"), product("Hosting", "1.1")]) == {"hosting": 1.2}


@pytest.mark.parametrize("line", ["{}", "no JSON", "[]", '{"product": {"attributes": {}}}'])
def test_an_invalid_price_list_is_an_error(pricing: Any, line: str) -> None:
    with pytest.raises(PriceListError, match=r"response for ml\.g6\.xlarge cannot be read"):
        _ask(pricing, [line])
