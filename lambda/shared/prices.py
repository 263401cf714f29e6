"""What an instance costs an hour: the prices given by hand, those that AWS listed, and those that ship.

A price given in the setting `instance_prices_usd` always wins. Of the others the newer one does: what
`refresh_prices` read from AWS's Price List API and keeps in the table, or what ships with the app.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from price_list import start_prices
from price_list.price import KINDS, Kind, Price
from shared import clock, environment, table

__all__ = ["KINDS", "Kind", "Price"]

_KEY = ("PRICES", "LISTED")
_GIVEN = "the setting instance_prices_usd"


@dataclass(frozen=True)
class Refresh:
    """How the Price List API was asked last."""

    succeeded_at: clock.Utc | None = None
    failed_at: clock.Utc | None = None
    """None if the last attempt succeeded."""
    failure: str | None = None


def usd_per_hour(kind: Kind, instance: str) -> Price | None:
    """Return the price of one instance in this region, on demand, or None if nobody has said one."""
    return of_all([(kind, instance)])[kind, instance]


def of_all(wanted: Iterable[tuple[Kind, str]]) -> dict[tuple[Kind, str], Price | None]:
    """Return several prices at the cost of one: each kind with each instance, in their order."""
    kept = (table.get(*_KEY) or {}).get("prices", {})
    return {(kind, instance): _known(kind, instance, kept) for kind, instance in wanted}


def keep(listed: Mapping[str, Mapping[Kind, float]]) -> None:
    """Keep what the Price List API said today, by instance; prices of other instances stay.

    Args:
        listed: US dollars an hour by instance and kind.
    """
    item = table.get(*_KEY) or {}
    prices: dict[str, Any] = dict(item.get("prices", {}))
    for instance, by_kind in listed.items():
        read = {kind: {"usd_per_hour": usd, "date": clock.day()} for kind, usd in by_kind.items()}
        prices[instance] = {**prices.get(instance, {}), **read}
    changes = {"prices": prices, "succeeded_at": clock.stamp(), "failed_at": None, "failure": None}
    table.update(*_KEY, changes)


def note_failure(reason: str) -> None:
    """Record that the Price List API could not be asked; the prices stay as they are."""
    table.update(*_KEY, {"failed_at": clock.stamp(), "failure": reason})


def last_refresh() -> Refresh:
    """Say when the Price List API was asked last, and what went wrong."""
    item = table.get(*_KEY) or {}
    return Refresh(item.get("succeeded_at"), item.get("failed_at"), item.get("failure"))


def _known(kind: Kind, instance: str, kept: Mapping[str, Any]) -> Price | None:
    given = environment.read(environment.GivenPrices).instance_prices.get(instance)
    if given is not None:
        return Price(given, clock.day(), _GIVEN)
    shipped = start_prices.find(kind, instance, region())
    listed = kept.get(instance, {}).get(kind)
    if listed is None or (shipped is not None and shipped.date > str(listed["date"])):
        return shipped
    return Price(float(listed["usd_per_hour"]), str(listed["date"]), f"AWS's price list of {region()}")


def region() -> str:
    """Return the region that the function runs in."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
