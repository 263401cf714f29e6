"""What a month costs, by kind and by day, and the prices it is counted at: `GET /api/costs`."""

from collections import defaultdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from chat_api.errors import refusals
from chat_api.identity import MayRead
from shared import clock, environment, ledger, prices

router = APIRouter(tags=["Pipeline"], responses=refusals())

_BILLED_AS: dict[ledger.Kind, prices.Kind] = {
    "training": "training",
    "search": "training",
    "evaluation": "processing",
    "endpoint": "hosting",
    "batch": "transform",
    "notebook": "notebook",
}

MonthName = Annotated[
    str | None,
    Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="As `2026-10`; this month if it is left out."),
]


class KindCosts(BaseModel):
    """What one kind of work costs."""

    kind: ledger.Kind
    spent_usd: float
    reserved_usd: float
    """What the work that goes on may still cost at most."""


class DayCosts(BaseModel):
    """What was spent for work that began on one day (UTC)."""

    day: str
    spent_usd: dict[ledger.Kind, float]
    """By kind; a kind without costs is absent."""


class UsedPrice(BaseModel):
    """A price that costs are counted at."""

    kind: prices.Kind
    instance: str
    usd_per_hour: float
    date: str
    """The day on which it was read."""
    source: str


class UnpricedInstance(BaseModel):
    """An instance that the settings allow, and whose price nobody knows."""

    kind: prices.Kind
    instance: str


class MonthlyCosts(BaseModel):
    """A month's costs, in US dollars at prices on demand. Months begin and end in UTC."""

    month: str
    spent_usd: float
    reserved_usd: float
    """What the work that goes on may still cost at most."""
    limit_usd: float | None
    """What the month may cost; null if there is no limit."""
    left_usd: float | None
    """What may still be started; null if there is no limit."""
    by_kind: list[KindCosts]
    by_day: list[DayCosts]
    """Days on which something was spent, the first of the month first."""
    prices: list[UsedPrice]
    unpriced: list[UnpricedInstance]
    prices_read_at: clock.Utc | None
    """When AWS's price list was last read; null if it never was."""
    prices_failure: str | None
    """Why it could not be read, or not wholly, the last time; the prices known before stay."""


@router.get("/costs", responses=refusals(422))
def costs(user: MayRead, month: MonthName = None) -> MonthlyCosts:
    """Sum up a month: what was spent and is reserved by kind and day, what is left, and at which prices."""
    name = month or clock.day()[:7]
    sums = ledger.month(name)
    known, unpriced = _prices(sums.entries)
    refresh = prices.last_refresh()
    return MonthlyCosts(
        month=name,
        spent_usd=round(sums.spent_usd, 4),
        reserved_usd=round(sums.reserved_usd, 4),
        limit_usd=sums.limit_usd,
        left_usd=None if sums.left_usd is None else round(sums.left_usd, 4),
        by_kind=_by_kind(sums.entries),
        by_day=_by_day(sums.entries),
        prices=known,
        unpriced=unpriced,
        prices_read_at=refresh.succeeded_at,
        prices_failure=refresh.failure,
    )


def _by_kind(entries: list[ledger.Entry]) -> list[KindCosts]:
    spent: dict[ledger.Kind, float] = defaultdict(float)
    reserved: dict[ledger.Kind, float] = defaultdict(float)
    for entry in entries:
        spent[entry.kind] += entry.spent_usd
        reserved[entry.kind] += entry.reserved_usd
    return [
        KindCosts(kind=kind, spent_usd=round(spent[kind], 4), reserved_usd=round(reserved[kind], 4))
        for kind in _BILLED_AS
        if kind in spent
    ]


def _by_day(entries: list[ledger.Entry]) -> list[DayCosts]:
    days: dict[str, dict[ledger.Kind, float]] = defaultdict(lambda: defaultdict(float))
    for entry in entries:
        if entry.spent_usd:
            days[entry.day][entry.kind] += entry.spent_usd
    return [
        DayCosts(day=day, spent_usd={kind: round(usd, 4) for kind, usd in spent.items()})
        for day, spent in sorted(days.items())
    ]


def _prices(entries: list[ledger.Entry]) -> tuple[list[UsedPrice], list[UnpricedInstance]]:
    """List the price of every instance that costs now or may, and those that have none."""
    billed: dict[prices.Kind, list[str]] = environment.read(environment.BilledInstances).billed_instances
    wanted = {(kind, instance) for kind, instances in billed.items() for instance in instances}
    wanted |= {(_BILLED_AS[entry.kind], entry.instance) for entry in entries if entry.instance}
    known: list[UsedPrice] = []
    unpriced: list[UnpricedInstance] = []
    for (kind, instance), price in prices.of_all(sorted(wanted)).items():
        if price is None:
            unpriced.append(UnpricedInstance(kind=kind, instance=instance))
            continue
        known.append(
            UsedPrice(
                kind=kind,
                instance=instance,
                usd_per_hour=price.usd_per_hour,
                date=price.date,
                source=price.source,
            )
        )
    return known, unpriced
