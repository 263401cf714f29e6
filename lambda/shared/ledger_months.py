"""What a month has cost: its sums, its entries and its limit."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from shared import clock, environment, table
from shared.spending_refused import LimitReached

Kind = Literal["training", "evaluation", "search", "endpoint", "batch", "notebook"]
"""What costs. A training that belongs to a search is part of that search."""

SUMS = "LEDGER"
"""Partition of the months' sums."""
_MICRO = 1_000_000
CALLED: dict[Kind, str] = {
    "training": "The training",
    "evaluation": "The evaluation",
    "search": "The search",
    "endpoint": "The machine that hosts the model",
    "batch": "The batch",
    "notebook": "The notebook",
}
"""What each is called in a sentence."""


@dataclass(frozen=True)
class Entry:
    """Something that cost, or is about to."""

    kind: Kind
    id: str
    """Name of its job; of a batch its own id; of the endpoint its instance and the day."""
    instance: str
    day: str
    """When it was reserved (UTC), as `2026-11-30`."""
    reserved_usd: float
    """What it may still cost beside what is spent."""
    spent_usd: float
    seconds: float = 0.0
    """How long machines have billed for it, all of them together; of the endpoint only."""
    priced: bool = True
    """False if the price of its instance is not known: then the sums lack it."""
    started_at: clock.Utc | None = None
    ended_at: clock.Utc | None = None


@dataclass(frozen=True)
class Totals:
    """The sums of a month."""

    month: str
    """UTC, as `2026-11`."""
    limit_usd: float | None
    """None if there is no limit."""
    spent_usd: float
    reserved_usd: float
    unpriced: frozenset[str] = frozenset()
    """Instances that were used and whose price is not known."""

    @property
    def left_usd(self) -> float | None:
        """What may still be reserved; None if there is no limit."""
        if self.limit_usd is None:
            return None
        return max(0.0, self.limit_usd - self.spent_usd - self.reserved_usd)


@dataclass(frozen=True)
class Month(Totals):
    """A month with everything that cost in it."""

    entries: list[Entry] = field(default_factory=list)


def limit_usd() -> float | None:
    """Return how much a month may cost; None if there is no limit."""
    return environment.read(environment.SpendingLimit).monthly_limit_usd or None


def this_month() -> str:
    """Return the month of now (UTC), as `2026-11`."""
    return clock.day()[:7]


def totals(month: str | None = None) -> Totals:
    """Read the sums of a month: one item."""
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
    """Read a month with its entries, by day and kind: one item and one query."""
    sums = totals(month)
    items = table.every(partition(sums.month))
    # What was reserved and never began is no entry.
    entries = [_entry(item) for item in items if _is_entry(item)]
    entries.sort(key=lambda entry: (entry.day, entry.kind, entry.id))
    return Month(**vars(sums), entries=entries)


def refusal(kind: Kind, asked_usd: float, what: str = "") -> LimitReached:
    """Describe what this month has no room for, with its sums as they are now."""
    sums = totals()
    return LimitReached(
        what or CALLED[kind],
        spent_usd=sums.spent_usd,
        reserved_usd=sums.reserved_usd,
        asked_usd=asked_usd,
        limit_usd=sums.limit_usd or 0.0,
    )


def partition(month_: str) -> str:
    """Return the partition of a month's entries."""
    return f"LEDGER#{month_}"


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


def to_kind(written: Any) -> Kind:
    """Read a kind from an item of the table."""
    return next(kind for kind in get_args(Kind) if kind == written)


def to_usd(micro: int) -> float:
    """Turn micro-dollars into dollars."""
    return micro / _MICRO


def to_micro(usd: float) -> int:
    """Turn dollars into micro-dollars."""
    return round(usd * _MICRO)


def to_micro_up(usd: float) -> int:
    """Round up, so that no reservation is less than it may cost; what is a whole number already stays."""
    return math.ceil(round(usd * _MICRO, 3))
