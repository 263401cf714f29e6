"""What the app will cost: at rest, for an hour awake, and for a typical run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.doctor.aws_account import AwsAccount, is_denied
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, ok, warning
from stories.estimate import AT_REST_NOT_FREE_USD, AT_REST_USD, INSTANCES, PRICE_DATE, estimate

PERMISSIONS = ("pricing:GetProducts",)
_PRICE_LIST_REGION = {"aws": "us-east-1", "aws-cn": "cn-northwest-1"}
_TYPICAL_WORDS = 100_000
_TYPICAL_TOKENS = 540_000
"""Tokens of that many words, read in four epochs."""


def costs(examination: Examination) -> Iterator[Finding]:
    """Say what the settings cost in this region, from AWS's own price list if it may be read."""
    account, settings = examination.account, examination.settings
    hosting, source = _price(account, settings.hosting_instance, "Hosting")
    training, _ = _price(account, settings.training_instance, "Training")
    yield ok(
        "At rest",
        f"about ${AT_REST_USD:.2f} a month; up to ${AT_REST_NOT_FREE_USD:.2f} more if other apps use up "
        "the account's free alarms and dashboards",
    )
    if hosting is None:
        yield warning(
            "Awake",
            f"the price of {settings.hosting_instance} in {account.region} is not known",
            "Look it up before the first chat.",
            "https://aws.amazon.com/sagemaker/ai/pricing/",
        )
    else:
        most = settings.hosting_max_instances
        at_worst = f", at worst ${hosting * most:.2f} with {most} of them" if most > 1 else ""
        yield ok(
            "Awake",
            f"${hosting:.2f} an hour on {settings.hosting_instance}{at_worst}, until "
            f"{settings.idle_minutes:g} minutes after the last message ({source})",
        )
    if training is None or settings.training_instance not in INSTANCES:
        yield warning(
            "A run",
            f"what a training on {settings.training_instance} costs is not known",
            "See what your stories would take: storyloom check FOLDER",
            "https://aws.amazon.com/sagemaker/ai/pricing/",
        )
        return
    run = estimate(
        _TYPICAL_TOKENS,
        settings.model.parameters_millions,
        settings.training_instance,
        settings.max_training_minutes,
        settings.instance_count,
        usd_per_hour=training,
    )
    usual = run.spot_usd if settings.spot else run.on_demand_usd
    yield ok(
        "A run",
        f"about ${usual:.2f} with {_TYPICAL_WORDS:,} words ({run.minutes:.0f} minutes), never above "
        f"${run.at_most_usd:.2f}; storyloom check FOLDER estimates yours",
    )


def _price(account: AwsAccount, instance: str, component: str) -> tuple[float | None, str]:
    """Return US dollars an hour, and where the price is from."""
    shipped = INSTANCES[instance].usd_per_hour if instance in INSTANCES else None
    own = f"list price of us-east-1, {PRICE_DATE}"
    try:
        listed = _listed_price(account, instance, component)
    except ClientError as error:
        why = "the price list may not be read" if is_denied(error) else "the price list did not answer"
        return shipped, f"{own}; {why}"
    except (BotoCoreError, ValueError, KeyError, TypeError):
        return shipped, f"{own}; the price list did not answer"
    return (listed, f"AWS's price list of {account.region}, today") if listed else (shipped, own)


def _listed_price(account: AwsAccount, instance: str, component: str) -> float | None:
    """Look a price up; None if the list has none for this region."""
    region = _PRICE_LIST_REGION.get(account.partition, "us-east-1")
    answer = account.client("pricing", region).get_products(
        ServiceCode="AmazonSageMaker",
        Filters=[
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": account.region},
            {"Type": "TERM_MATCH", "Field": "instanceName", "Value": instance},
        ],
    )
    for line in answer["PriceList"]:
        product = json.loads(line)
        if str(product["product"]["attributes"].get("component", "")).lower() == component.lower():
            return _usd_per_hour(product)
    return None


def _usd_per_hour(product: dict[str, Any]) -> float | None:
    for term in product["terms"]["OnDemand"].values():
        for dimension in term["priceDimensions"].values():
            price = float(dimension["pricePerUnit"]["USD"])
            if price > 0:
                return price
    return None
