"""Read an instance's prices, by kind, from AWS's Price List API.

The API has endpoints in three regions, each with the prices of all regions. Each product is JSON in a string.
https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
"""

import json
from collections.abc import Iterator
from typing import Any

from price_list.price import Kind

ENDPOINT_REGIONS = ("us-east-1", "eu-central-1", "ap-south-1")
"""Regions with an endpoint of the API."""
SERVICE_CODE = "AmazonSageMaker"

# A product's kind is in its attribute `component` or, for older products, `platoinstancetype`.
KIND_OF_COMPONENT: dict[str, Kind] = {
    "training": "training",
    "processing": "processing",
    "hosting": "hosting",
    "batchtransform": "transform",
    "notebook": "notebook",
}


class PriceListError(Exception):
    """The Price List API's response is not a price list."""


def ask(pricing: Any, instance: str, region: str) -> dict[Kind, float]:
    """Return an instance's on-demand prices an hour, by kind; a kind without a price is left out.

    Args:
        pricing: boto3's client, in one of `ENDPOINT_REGIONS`.
        instance: SageMaker instance type, such as `ml.g6.xlarge`.
        region: where it would run.

    Raises:
        PriceListError: the response cannot be read.
        ClientError, BotoCoreError: the API refused the request or did not respond.
    """
    found: dict[Kind, float] = {}
    pages = pricing.get_paginator("get_products").paginate(
        ServiceCode=SERVICE_CODE,
        Filters=[
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": region},
            {"Type": "TERM_MATCH", "Field": "instanceName", "Value": instance},
        ],
        FormatVersion="aws_v1",
    )
    try:
        for page in pages:
            for line in page["PriceList"]:
                product = json.loads(line)
                kind = _kind(product["product"]["attributes"])
                for usd in _usd_per_hour(product):
                    if kind is not None:
                        # The higher price of two products counts, so that the monthly limit holds.
                        found[kind] = max(usd, found.get(kind, 0.0))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PriceListError(
            f"The Price List API's response for {instance} cannot be read: {error!r}"
        ) from error
    return found


def _kind(attributes: dict[str, Any]) -> Kind | None:
    for attribute in ("component", "platoinstancetype"):
        written = str(attributes.get(attribute, "")).lower()
        if kind := KIND_OF_COMPONENT.get("".join(char for char in written if char.isalnum())):
            return kind
    return None


def _usd_per_hour(product: dict[str, Any]) -> Iterator[float]:
    """Yield the on-demand prices, without a free tier's price of zero."""
    for term in product["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            usd = float(dimension["pricePerUnit"].get("USD", 0))
            if usd > 0 and dimension.get("unit", "Hrs") == "Hrs":
                yield usd
