"""Look up what an instance costs an hour, in the settings, in AWS's price list or in the shipped prices.

A price in the setting `instance_prices_usd` always wins. Otherwise the newer of two prices does: the one that
`refresh_prices` read from AWS's Price List API and stored in the table, or the one that ships with the app.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts import environment, table_keys
from price_list import start_prices
from price_list.price import KINDS, Kind, Price
from shared import clock, table

__all__ = ["KINDS", "Kind", "Price"]

_KEY = table_keys.LISTED_PRICES
_GIVEN = "the setting instance_prices_usd"


@dataclass(frozen=True)
class Refresh:
    """The outcome of the last requests to the Price List API."""

    succeeded_at: clock.Utc | None = None
    failed_at: clock.Utc | None = None
    """None if the last attempt succeeded."""
    failure: str | None = None


def usd_per_hour(kind: Kind, instance: str) -> Price | None:
    """Return the on-demand price of one instance in this region; None if it is not known."""
    return usd_per_hour_of_all([(kind, instance)])[kind, instance]


def usd_per_hour_of_all(wanted: Iterable[tuple[Kind, str]]) -> dict[tuple[Kind, str], Price | None]:
    """Return several prices with one read of the table, in the order in which they are asked for."""
    stored = (table.get(*_KEY) or {}).get("prices", {})
    return {(kind, instance): _known(kind, instance, stored) for kind, instance in wanted}


def store_listed(listed: Mapping[str, Mapping[Kind, float]]) -> None:
    """Store today's prices of the Price List API; prices of other instances stay as they are.

    Args:
        listed: US dollars an hour, by instance and kind.
    """
    item = table.get(*_KEY) or {}
    prices: dict[str, Any] = dict(item.get("prices", {}))
    for instance, by_kind in listed.items():
        read = {kind: {"usd_per_hour": usd, "date": clock.day()} for kind, usd in by_kind.items()}
        prices[instance] = {**prices.get(instance, {}), **read}
    changes = {"prices": prices, "succeeded_at": clock.stamp(), "failed_at": None, "failure": None}
    table.update(*_KEY, changes)


def record_failure(reason: str) -> None:
    """Record that a request to the Price List API failed; the stored prices stay as they are."""
    table.update(*_KEY, {"failed_at": clock.stamp(), "failure": reason})


def last_refresh() -> Refresh:
    """Return when the Price List API was last read, and what failed since."""
    item = table.get(*_KEY) or {}
    return Refresh(item.get("succeeded_at"), item.get("failed_at"), item.get("failure"))


def _known(kind: Kind, instance: str, stored: Mapping[str, Any]) -> Price | None:
    given = environment.read(environment.GivenPrices).instance_prices.get(instance)
    if given is not None:
        return Price(given, clock.day(), _GIVEN)
    shipped = start_prices.find(kind, instance, region())
    listed = stored.get(instance, {}).get(kind)
    if listed is None or (shipped is not None and shipped.date > str(listed["date"])):
        return shipped
    return Price(float(listed["usd_per_hour"]), str(listed["date"]), f"AWS's price list of {region()}")


def region() -> str:
    """Return the region that the function runs in."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
