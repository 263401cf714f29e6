"""The prices of the settings: which instances they name, and what each costs before AWS has been asked."""

from collections.abc import Iterator

from price_list import start_prices
from price_list.price import Kind, Price
from stacks.settings import Settings

GIVEN = "the setting instance_prices_usd"
"""Where a price is from that the settings give."""


def billed(settings: Settings) -> Iterator[tuple[Kind, str]]:
    """Yield what the app may pay for: each kind with each instance that the settings allow for it."""
    yield "training", settings.training_instance
    yield from (("processing", instance) for instance in settings.evaluation_instances)
    yield from (("hosting", instance) for instance in (settings.hosting_instance, *settings.fallbacks))
    yield from (("transform", instance) for instance in settings.transform_instances)


def instances(settings: Settings) -> list[str]:
    """Return every instance type that the settings name, each once."""
    return list(dict.fromkeys(instance for _, instance in billed(settings)))


def known(settings: Settings, kind: Kind, instance: str, region: str, day: str) -> Price | None:
    """Return the price that holds before AWS has been asked, or None if there is none.

    Args:
        settings: of the app; a price that they give wins.
        kind: what it is billed for.
        instance: SageMaker instance type.
        region: where it would run.
        day: today, as `2026-09-30`: the date of a price that the settings give.
    """
    given = settings.instance_prices_usd.get(instance)
    if given is not None:
        return Price(given, day, GIVEN)
    return start_prices.find(kind, instance, region)


def unpriced(settings: Settings, region: str) -> list[tuple[Kind, str]]:
    """Return what the app may pay for and has no price yet in a region."""
    return [
        (kind, instance)
        for kind, instance in billed(settings)
        if known(settings, kind, instance, region, day="") is None
    ]
