"""What an instance costs an hour, by what it is used for."""

from dataclasses import dataclass
from typing import Literal

from shared import environment

PricedKind = Literal["training", "processing", "hosting", "transform", "notebook"]


@dataclass(frozen=True)
class Price:
    """What an instance costs, and who says so."""

    usd_per_hour: float
    date: str
    source: str


def usd_per_hour(kind: PricedKind, instance: str) -> Price | None:
    """Return the price of an instance on demand; None if it is not known."""
    known = environment.read(environment.Prices)
    usd = known.hosting_prices.get(instance)
    return None if usd is None else Price(usd, known.price_date, f"Amazon SageMaker pricing, {kind}")
