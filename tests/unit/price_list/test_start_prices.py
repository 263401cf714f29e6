"""The prices that ship with the app, judged by botocore's enumerations of what SageMaker offers."""

import re
from typing import Any

import botocore.session
import pytest

from contracts.instances import GPU_OF_INSTANCE
from price_list import start_prices
from price_list.price import KINDS, Kind

# What AWS's list of us-east-1 had no price for, or nobody read one.
_WITHOUT: set[tuple[str, Kind]] = {("ml.p5.4xlarge", "training"), ("ml.p5.4xlarge", "processing")}
_SHAPES: dict[Kind, str] = {
    "training": "TrainingInstanceType",
    "processing": "ProcessingInstanceType",
    "hosting": "ProductionVariantInstanceType",
    "transform": "TransformInstanceType",
    "notebook": "InstanceType",
}


@pytest.mark.aws_fact
@pytest.mark.parametrize("kind", KINDS)
def test_every_allowed_instance_has_a_price_exactly_where_sagemaker_offers_it(kind: Kind) -> None:
    shape: Any = botocore.session.get_session().get_service_model("sagemaker").shape_for(_SHAPES[kind])
    offered = {instance for instance in GPU_OF_INSTANCE if instance in shape.enum}
    priced = {name for name in GPU_OF_INSTANCE if start_prices.find(kind, name, "us-east-1")}
    assert priced == offered - {instance for instance, without in _WITHOUT if without == kind}


def test_each_price_has_its_day_and_its_source() -> None:
    for listed in start_prices.START_PRICES:
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", listed.date)
        assert len({row.instance for row in listed.rows}) == len(listed.rows), "one row an instance"
        for row in listed.rows:
            for kind in row.kinds:
                price = start_prices.find(kind, row.instance, listed.region)
                assert price is not None
                assert listed.region in price.source
                assert 0.5 < price.usd_per_hour < 100


def test_a_larger_machine_of_a_family_is_never_cheaper_for_its_gpus() -> None:
    """A figure that was mistyped by a digit stands out against its siblings."""
    gpus = {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}
    for family in ("ml.g5", "ml.g6", "ml.g6e"):
        one = start_prices.find("hosting", f"{family}.xlarge", "us-east-1")
        assert one is not None
        for size, count in gpus.items():
            price = start_prices.find("hosting", f"{family}.{size}", "us-east-1")
            assert price is not None
            assert count * one.usd_per_hour < price.usd_per_hour < 3 * count * one.usd_per_hour


def test_the_price_of_another_region_is_never_used() -> None:
    assert start_prices.find("hosting", "ml.g6.xlarge", "sa-east-1") is None
    paris = start_prices.find("hosting", "ml.g6.xlarge", "eu-west-3")
    virginia = start_prices.find("hosting", "ml.g6.xlarge", "us-east-1")
    assert paris and virginia and paris.usd_per_hour > 1.25 * virginia.usd_per_hour
