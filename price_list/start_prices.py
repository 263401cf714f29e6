"""The prices that ship with the app, used until AWS's Price List API has newer ones.

A price without a source is left out: the app then refuses the instance under a monthly limit, until the API
or the setting `instance_prices_usd` provides one. docs/decisions/0021-prices.md names each list's source.
"""

from dataclasses import dataclass
from functools import cache

from price_list.price import Kind, Price

_ALL: tuple[Kind, ...] = ("training", "processing", "hosting", "transform", "notebook")
_NO_PROCESSING_NO_TRANSFORM: tuple[Kind, ...] = ("training", "hosting", "notebook")


@dataclass(frozen=True)
class PriceRow:
    """The price of one instance in one region, with the kinds of work that it was read for."""

    instance: str
    usd_per_hour: float
    kinds: tuple[Kind, ...] = _ALL


@dataclass(frozen=True)
class RegionalPrices:
    """Prices of one region that were read on the same day."""

    region: str
    date: str
    rows: tuple[PriceRow, ...]


# An instance costs the same for every kind to within a cent an hour. Of two readings this is the higher one.
START_PRICES = (
    RegionalPrices(
        "us-east-1",
        "2026-09-27",
        (
            PriceRow("ml.g4dn.xlarge", 0.7364),
            PriceRow("ml.g4dn.2xlarge", 0.94),
            PriceRow("ml.g4dn.4xlarge", 1.505),
            PriceRow("ml.g4dn.8xlarge", 2.72),
            PriceRow("ml.g4dn.12xlarge", 4.89),
            PriceRow("ml.g4dn.16xlarge", 5.44),
            PriceRow("ml.g5.xlarge", 1.41),
            PriceRow("ml.g5.2xlarge", 1.52),
            PriceRow("ml.g5.4xlarge", 2.03),
            PriceRow("ml.g5.8xlarge", 3.06),
            PriceRow("ml.g5.12xlarge", 7.09),
            PriceRow("ml.g5.16xlarge", 5.12),
            PriceRow("ml.g5.24xlarge", 10.18),
            PriceRow("ml.g5.48xlarge", 20.36),
            PriceRow("ml.g6.xlarge", 1.127),
            PriceRow("ml.g6.2xlarge", 1.222),
            PriceRow("ml.g6.4xlarge", 1.654),
            PriceRow("ml.g6.8xlarge", 2.518),
            PriceRow("ml.g6.12xlarge", 5.752),
            PriceRow("ml.g6.16xlarge", 4.246),
            PriceRow("ml.g6.24xlarge", 8.344),
            PriceRow("ml.g6.48xlarge", 16.688),
            PriceRow("ml.g6e.xlarge", 2.61),
            PriceRow("ml.g6e.2xlarge", 2.8026),
            PriceRow("ml.g6e.4xlarge", 3.76),
            PriceRow("ml.g6e.8xlarge", 5.6607),
            PriceRow("ml.g6e.12xlarge", 13.12),
            PriceRow("ml.g6e.16xlarge", 9.47),
            PriceRow("ml.g6e.24xlarge", 18.832),
            PriceRow("ml.g6e.48xlarge", 37.664),
            PriceRow("ml.p4d.24xlarge", 25.2513, _NO_PROCESSING_NO_TRANSFORM),
            PriceRow("ml.p4de.24xlarge", 31.5641, _NO_PROCESSING_NO_TRANSFORM),
            # AWS's list of September 2026 had no training on demand for it, and processing was not read.
            PriceRow("ml.p5.4xlarge", 7.912, ("hosting", "notebook")),
            PriceRow("ml.p5.48xlarge", 63.296, _NO_PROCESSING_NO_TRANSFORM),
        ),
    ),
    RegionalPrices(
        "eu-west-3",
        "2026-10-04",
        (
            PriceRow("ml.g4dn.xlarge", 0.861, ("hosting", "transform")),
            PriceRow("ml.g6.xlarge", 1.4302, ("hosting",)),
        ),
    ),
    RegionalPrices("eu-central-1", "2026-08-13", (PriceRow("ml.g5.xlarge", 1.76, ("training",)),)),
)


def find(kind: Kind, instance: str, region: str) -> Price | None:
    """Return the price that ships with the app; None if there is none for this region and kind."""
    return _by_place().get((region, instance, kind))


@cache
def _by_place() -> dict[tuple[str, str, Kind], Price]:
    return {
        (listed.region, row.instance, kind): Price(
            row.usd_per_hour, listed.date, f"AWS's price list of {listed.region}"
        )
        for listed in START_PRICES
        for row in listed.rows
        for kind in row.kinds
    }
