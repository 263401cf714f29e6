"""The month's money: what was spent, what is reserved, and how much is left."""

from dataclasses import dataclass, field
from typing import Literal

from shared import table

Kind = Literal["training", "evaluation", "search", "endpoint", "batch", "notebook"]


@dataclass(frozen=True)
class Entry:
    """One thing that costs."""

    kind: Kind
    id: str
    instance: str
    day: str
    reserved_usd: float
    spent_usd: float
    started_at: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True)
class Month:
    """The sums of one month, in UTC."""

    limit_usd: float | None
    spent_usd: float
    reserved_usd: float
    left_usd: float | None
    entries: list[Entry] = field(default_factory=list)


def month(month: str) -> Month:
    """Read a month's sums and entries.

    Args:
        month: as `2026-11`.
    """
    entries = [
        Entry(
            item["kind"],
            item["id"],
            item["instance"],
            item["day"],
            float(item["reserved_usd"]),
            float(item["spent_usd"]),
            item.get("started_at"),
            item.get("ended_at"),
        )
        for item in table.every(f"LEDGER#{month}")
    ]
    return Month(
        None, sum(one.spent_usd for one in entries), sum(one.reserved_usd for one in entries), None, entries
    )
