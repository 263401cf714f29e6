"""Read what a month has cost: its totals, its entries and its limit."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from contracts import environment, table_keys
from shared import clock
from shared.spending.spending_refused import LimitReached
from shared.table import table

Kind = Literal["training", "evaluation", "search", "endpoint", "batch", "notebook"]
"""The kind of a cost. A training job that belongs to a hyperparameter search counts as part of the search."""

SUMS = table_keys.LEDGER
"""Partition of the months' totals."""
_MICRO = 1_000_000
DISPLAY_NAMES: dict[Kind, str] = {
    "training": "The training",
    "evaluation": "The evaluation",
    "search": "The search",
    "endpoint": "The machine that hosts the model",
    "batch": "The batch",
    "notebook": "The notebook",
}
"""The subject of a sentence about each kind."""


@dataclass(frozen=True)
class Entry:
    """A job that has cost money or is about to, or the endpoint's machines of one day."""

    kind: Kind
    id: str
    """The job's name, the batch's id, or the endpoint's day and instance type."""
    instance: str
    day: str
    """The day of the reservation (UTC), such as `2026-11-30`."""
    reserved_usd: float
    """The most that it may still cost in addition to `spent_usd`."""
    spent_usd: float
    seconds: float = 0.0
    """Billed machine time, summed over all machines; only the endpoint's entries have it."""
    priced: bool = True
    """False if the instance's price is not known: then the totals do not include this entry."""
    started_at: clock.Utc | None = None
    ended_at: clock.Utc | None = None


@dataclass(frozen=True)
class Totals:
    """The totals of a month."""

    month: str
    """UTC, such as `2026-11`."""
    limit_usd: float | None
    """None if there is no limit."""
    spent_usd: float
    reserved_usd: float
    unpriced: frozenset[str] = frozenset()
    """Instance types that were used and whose price is not known."""

    @property
    def left_usd(self) -> float | None:
        """How much may still be reserved; None if there is no limit."""
        if self.limit_usd is None:
            return None
        return max(0.0, self.limit_usd - self.spent_usd - self.reserved_usd)


@dataclass(frozen=True)
class Month(Totals):
    """A month's totals with the entries that they sum up."""

    entries: list[Entry] = field(default_factory=list)


def limit_usd() -> float | None:
    """Return how much a month may cost; None if there is no limit."""
    return environment.read(environment.SpendingLimit).monthly_limit_usd or None


def this_month() -> str:
    """Return the current month (UTC), such as `2026-11`."""
    return clock.day()[:7]


def totals(month: str | None = None) -> Totals:
    """Read the totals of a month; this takes one read of one item."""
    month = month or this_month()
    item = table.get(SUMS, month) or {}
    committed, reserved = int(item.get("committed", 0)), int(item.get("reserved", 0))
    return Totals(
        month=month,
        limit_usd=limit_usd(),
        spent_usd=to_usd(committed - reserved),
        reserved_usd=to_usd(reserved),
        unpriced=frozenset(item.get("unpriced", ())),
    )


def month(month: str | None = None) -> Month:
    """Read a month with its entries, sorted by day and kind; this takes one read and one query."""
    sums = totals(month)
    items = table.every(partition(sums.month))
    # A reservation that was released leaves an item without amounts, which is not shown.
    entries = [_entry(item) for item in items if _is_entry(item)]
    entries.sort(key=lambda entry: (entry.day, entry.kind, entry.id))
    return Month(**vars(sums), entries=entries)


def refusal(kind: Kind, asked_usd: float, what: str = "") -> LimitReached:
    """Make the error for a job that would exceed the month's limit, with the current totals."""
    sums = totals()
    return LimitReached(
        what or DISPLAY_NAMES[kind],
        spent_usd=sums.spent_usd,
        reserved_usd=sums.reserved_usd,
        asked_usd=asked_usd,
        limit_usd=sums.limit_usd or 0.0,
    )


def partition(month_: str) -> str:
    """Return the partition key of a month's entries."""
    return table_keys.ledger_entries(month_)


def _is_entry(item: table.Item) -> bool:
    return any(item.get(name) for name in ("settled", "spent", "reserved", "seconds"))


def _entry(item: table.Item) -> Entry:
    return Entry(
        kind=to_kind(item["kind"]),
        id=str(item["id"]),
        instance=str(item["instance"]),
        day=str(item["day"]),
        reserved_usd=to_usd(int(item.get("reserved", 0))),
        spent_usd=to_usd(int(item.get("spent", 0))),
        seconds=float(item.get("seconds", 0)),
        priced=bool(item.get("priced", True)),
        started_at=item.get("started_at"),
        ended_at=item.get("ended_at"),
    )


def to_kind(value: Any) -> Kind:
    """Convert a table item's attribute to a kind."""
    return next(kind for kind in get_args(Kind) if kind == value)


def to_usd(micro: int) -> float:
    """Convert micro-dollars to dollars."""
    return micro / _MICRO


def to_micro(usd: float) -> int:
    """Convert dollars to micro-dollars, rounded to the nearest."""
    return round(usd * _MICRO)


def to_micro_up(usd: float) -> int:
    """Convert dollars to micro-dollars, rounded up so that no reservation is below the cost.

    Floating-point noise beyond a thousandth of a micro-dollar does not round up.
    """
    return math.ceil(round(usd * _MICRO, 3))
