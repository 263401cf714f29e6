"""List the instances that the settings name, and their prices before AWS's price list has been read."""

from collections.abc import Iterator

from contracts.settings import Settings
from price_list import start_prices
from price_list.price import Kind, Price

GIVEN = "the setting instance_prices_usd"
"""Source of a price from the settings."""


def billed(settings: Settings) -> Iterator[tuple[Kind, str]]:
    """Yield each kind of work with each instance that the settings allow for it."""
    yield "training", settings.training_instance
    yield from (("processing", instance) for instance in settings.evaluation_instances)
    yield from (("hosting", instance) for instance in (settings.hosting_instance, *settings.fallbacks))
    yield from (("transform", instance) for instance in settings.transform_instances)


def instances(settings: Settings) -> list[str]:
    """Return the instance types that the settings name, without duplicates."""
    return list(dict.fromkeys(instance for _, instance in billed(settings)))


def known(settings: Settings, kind: Kind, instance: str, region: str, day: str) -> Price | None:
    """Return the price that applies before AWS's price list has been read; None if there is none.

    Args:
        settings: of the app; a price in them wins.
        kind: the kind of work that is billed.
        instance: SageMaker instance type.
        region: where it would run.
        day: today, such as `2026-09-30`, as the date of a price from the settings.
    """
    given = settings.instance_prices_usd.get(instance)
    if given is not None:
        return Price(given, day, GIVEN)
    return start_prices.find(kind, instance, region)


def unpriced(settings: Settings, region: str) -> list[tuple[Kind, str]]:
    """Return the kinds and instances of the settings that have no price in a region yet."""
    return [
        (kind, instance)
        for kind, instance in billed(settings)
        if known(settings, kind, instance, region, day="") is None
    ]
