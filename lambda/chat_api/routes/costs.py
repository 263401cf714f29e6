"""The route of the costs: a month's costs by kind and by day, and the prices they are computed from."""

from collections import defaultdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from chat_api.dependencies.identity import RequireReadScope
from chat_api.dependencies.responses import error_responses
from chat_api.services import costs
from shared import clock
from shared.spending import ledger, prices

router = APIRouter(tags=["Pipeline"], responses=error_responses())

MonthName = Annotated[
    str | None,
    Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="Such as `2026-10`; by default this month."),
]


class KindCosts(BaseModel):
    """The costs of one kind of work."""

    kind: ledger.Kind
    spent_usd: float
    reserved_usd: float
    """The most that work in progress may still cost."""


class DayCosts(BaseModel):
    """The costs of work that began on one day (UTC)."""

    day: str
    spent_usd: dict[ledger.Kind, float]
    """US dollars by kind; a kind without costs is left out."""


class UsedPrice(BaseModel):
    """A price from which costs are computed."""

    kind: prices.Kind
    instance: str
    usd_per_hour: float
    date: str
    """The day on which it was read."""
    source: str


class UnpricedInstance(BaseModel):
    """An instance that the settings allow and whose price is not known."""

    kind: prices.Kind
    instance: str


class MonthlyCosts(BaseModel):
    """A month's costs in US dollars at on-demand prices. Months begin and end in UTC."""

    month: str
    spent_usd: float
    reserved_usd: float
    """The most that work in progress may still cost."""
    limit_usd: float | None
    """The month's limit; null if there is none."""
    left_usd: float | None
    """How much may still be reserved; null if there is no limit."""
    by_kind: list[KindCosts]
    by_day: list[DayCosts]
    """The days with costs, in order."""
    prices: list[UsedPrice]
    unpriced: list[UnpricedInstance]
    prices_read_at: clock.Utc | None
    """When AWS's price list was last read; null if never."""
    prices_failure: str | None
    """Why the last reading failed, wholly or in part; null if it succeeded. Earlier prices stay in use."""


@router.get("/costs", responses=error_responses(422))
def get_costs(user: RequireReadScope, month: MonthName = None) -> MonthlyCosts:
    """Show a month's costs by kind and by day, what is reserved and left, and the prices."""
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
        for kind in costs.PRICE_KINDS
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
    """Return the known prices, and the instances without one."""
    known: list[UsedPrice] = []
    unpriced: list[UnpricedInstance] = []
    for (kind, instance), price in costs.billed_prices(entries).items():
        if price is None:
            unpriced.append(UnpricedInstance(kind=kind, instance=instance))
        else:
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
