"""What the app will cost: asleep, for an hour awake, for a typical run, and instances without a price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from botocore.exceptions import BotoCoreError, ClientError

from cli.doctor.aws_account import AwsAccount, is_denied
from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, ok, warning
from contracts.settings import Settings
from price_list import aws_price_list, start_prices
from price_list.price import Kind, Price
from stacks import prices
from stories.dataset.training_plan import AT_REST_NOT_FREE_USD, AT_REST_USD, INSTANCES, estimate

PERMISSIONS = ("pricing:GetProducts",)
_PRICING_PAGE = "https://aws.amazon.com/sagemaker/ai/pricing/"
_ELSEWHERE = "us-east-1"
"""Whose price is shown for comparison if a region's is not known."""
_TYPICAL_WORDS = 100_000
_TYPICAL_TOKENS = 540_000
"""Tokens of that many words, read in four epochs."""


def costs(examination: Examination) -> Iterator[Finding]:
    """Report what the settings cost in this region, from AWS's own price list if it can be read."""
    settings = examination.settings
    book = _PriceBook(examination.account, settings)
    yield ok(
        "At rest",
        f"about ${AT_REST_USD:.2f} a month; up to ${AT_REST_NOT_FREE_USD:.2f} more if other apps use up "
        "the account's free alarms and dashboards",
    )
    yield _awake(settings, book)
    yield _run(settings, book)
    yield _unpriced(settings, book)


@dataclass
class _PriceBook:
    """The known prices; AWS is asked once for each instance."""

    account: AwsAccount
    settings: Settings
    why_not: str = ""
    """Why AWS could not be asked; then it is not asked again."""
    _listed: dict[str, dict[Kind, float]] = field(default_factory=dict)

    def find(self, kind: Kind, instance: str) -> Price | None:
        """Return the price that a deployment would use now."""
        today = date.today().isoformat()
        if instance not in self.settings.instance_prices_usd:
            listed = self._ask(instance).get(kind)
            if listed is not None:
                return Price(listed, today, f"AWS's price list of {self.account.region}, today")
        price = prices.known(self.settings, kind, instance, self.account.region, today)
        if price is None or price.source == prices.GIVEN:
            return price
        why = f"; {self.why_not}" if self.why_not else ""
        return Price(price.usd_per_hour, price.date, f"{price.source}, {price.date}{why}")

    def _ask(self, instance: str) -> dict[Kind, float]:
        if instance not in self._listed and not self.why_not:
            pricing = self.account.client("pricing", aws_price_list.ENDPOINT_REGIONS[0])
            try:
                self._listed[instance] = aws_price_list.ask(pricing, instance, self.account.region)
            except ClientError as error:
                denied = "the price list may not be read (pricing:GetProducts)"
                self.why_not = denied if is_denied(error) else "the price list did not answer"
            except (BotoCoreError, aws_price_list.PriceListError):
                self.why_not = "the price list did not answer"
        return self._listed.get(instance, {})


def _awake(settings: Settings, book: _PriceBook) -> Finding:
    hosting = book.find("hosting", settings.hosting_instance)
    if hosting is None:
        return _no_price("Awake", "hosting", settings.hosting_instance, book)
    most = settings.hosting_max_instances
    at_worst = f", at worst ${hosting.usd_per_hour * most:.2f} with {most} of them" if most > 1 else ""
    return ok(
        "Awake",
        f"${hosting.usd_per_hour:.2f} an hour on {settings.hosting_instance}{at_worst}, until "
        f"{settings.idle_minutes:g} minutes after the last message ({hosting.source})",
    )


def _run(settings: Settings, book: _PriceBook) -> Finding:
    training = book.find("training", settings.training_instance)
    if training is None:
        return _no_price("A run", "training", settings.training_instance, book)
    run = estimate(
        _TYPICAL_TOKENS,
        settings.model.parameters_millions,
        settings.training_instance,
        settings.max_training_minutes,
        settings.instance_count,
        usd_per_hour=training.usd_per_hour,
    )
    most = f"never above ${run.at_most_usd:.2f}; storyloom check FOLDER estimates yours"
    if settings.training_instance not in INSTANCES:
        return ok("A run", f"{most} (how fast {settings.training_instance} trains is not known)")
    usual = run.spot_usd if settings.spot else run.on_demand_usd
    return ok(
        "A run", f"about ${usual:.2f} with {_TYPICAL_WORDS:,} words ({run.minutes:.0f} minutes), {most}"
    )


def _unpriced(settings: Settings, book: _PriceBook) -> Finding:
    """Report the instances of the settings without a price, and what that means."""
    billed = list(prices.billed(settings))
    without: dict[str, list[str]] = {}
    for kind, instance in billed:
        if book.find(kind, instance) is None:
            without.setdefault(instance, []).append(kind)
    if not without:
        return ok("Prices", f"known for all {len(prices.instances(settings))} instance types of the settings")
    named = "; ".join(f"{instance} for {', '.join(kinds)}" for instance, kinds in without.items())
    given = ",".join(f"{instance}=PRICE" for instance in without)
    why = f" ({book.why_not})" if book.why_not else ""
    return warning(
        "Prices",
        f"not known in {book.account.region}: {named}{why}; an instance without a price is in no "
        "estimate, and a spending limit refuses it",
        f"Look them up and set them: -c instance_prices_usd={given}",
        _PRICING_PAGE,
    )


def _no_price(subject: str, kind: Kind, instance: str, book: _PriceBook) -> Finding:
    elsewhere = start_prices.find(kind, instance, _ELSEWHERE)
    compared = f"; in {_ELSEWHERE} it was ${elsewhere.usd_per_hour:.2f} an hour" if elsewhere else ""
    why = f" ({book.why_not})" if book.why_not else ""
    return warning(
        subject,
        f"the price of {instance} for {kind} in {book.account.region} is not known{why}{compared}",
        f"Look it up and set it: -c instance_prices_usd={instance}=PRICE",
        _PRICING_PAGE,
    )
