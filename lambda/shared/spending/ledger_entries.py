"""The entries of the month's ledger and their totals: read them, or change them in one transaction."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from contracts import environment, table_keys
from shared import clock, table
from shared.spending.spending_refused import LimitReached

Kind = Literal["training", "evaluation", "search", "endpoint", "batch", "notebook"]
"""The kind of a cost. A training job that belongs to a hyperparameter search counts as part of the search."""

SUMS = table_keys.LEDGER
"""Partition of the months' totals."""
_MICRO = 1_000_000
DISPLAY_NAMES: dict[Kind, str] = {
    "training": "The training",
    "evaluation": "The evaluation",
    "search": "The search",
    "endpoint": "The instance that hosts the model",
    "batch": "The batch",
    "notebook": "The notebook",
}
"""The subject of a sentence about each kind."""


@dataclass(frozen=True)
class Entry:
    """A job that has cost money or is about to, or the endpoint's instances of one day."""

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
    """Billed time, summed over all instances; only the endpoint's entries have it."""
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
    items = table.query(partition(sums.month))
    # A reservation that was released leaves an item without amounts, which is not shown.
    entries = [_entry(item) for item in items if _is_entry(item)]
    entries.sort(key=lambda entry: (entry.day, entry.kind, entry.id))
    return Month(**vars(sums), entries=entries)


def limit_reached(kind: Kind, asked_usd: float, what: str = "") -> LimitReached:
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


@dataclass(frozen=True)
class Move:
    """A change of one entry, in micro-dollars."""

    kind: Kind
    id: str
    instance: str
    day: str
    spent: int = 0
    reserved: int = 0
    seconds: float = 0.0
    priced: bool = True
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the entry to set."""
    month: str = ""
    """The month that the entry counts in; empty for the month of `day`."""

    @property
    def of_month(self) -> str:
        """The month that the entry counts in."""
        return self.month or self.day[:7]


class ConditionFailed(Exception):  # noqa: N818 - a signal to read again and retry
    """The condition of a transaction's guard was false: another call changed the item first."""


def post(
    moves: Iterable[Move], *, guard: Mapping[str, Mapping[str, Any]] | None = None, limited: bool = True
) -> None:
    """Change entries and the totals of their months in one transaction.

    Args:
        moves: the changes.
        guard: one more operation of the transaction; if its condition is false, nothing is changed.
        limited: whether to refuse a change that reserves more in a month and would exceed its limit.

    Raises:
        ConditionFailed: the guard's condition is false.
        LimitReached: a month would exceed its limit.
    """
    moves = list(moves)
    operations: list[Mapping[str, Mapping[str, Any]]] = [guard] if guard else []
    sums = _sums_of(moves)
    limit = limit_usd() if limited else None
    for month_, sum_ in sums.items():
        change = _sums_change(month_, sum_)
        if limit is not None and sum_.asked > 0 and sum_.committed > 0:
            room = to_micro(limit) - sum_.committed
            change["ConditionExpression"] = "attribute_not_exists(committed) OR committed <= :room"
            change["ExpressionAttributeValues"][":room"] = room
            if room < 0:
                raise limit_reached(moves[0].kind, to_usd(sum_.asked))
        operations.append({"Update": change})
    operations += [{"Update": _entry_change(move)} for move in _merged(moves)]
    failed = table.transact(operations)
    if not failed:
        return
    if guard and 0 in failed:
        raise ConditionFailed
    raise limit_reached(moves[0].kind, to_usd(max(sum_.asked for sum_ in sums.values())))


def cost_micro(usd_per_hour: float, seconds: float) -> int:
    """Return what an instance costs for a number of seconds, in micro-dollars."""
    return to_micro(usd_per_hour * seconds / 3600)


@dataclass
class _Sum:
    """The change of a month's totals."""

    committed: int = 0
    """Spent and reserved together."""
    reserved: int = 0
    asked: int = 0
    """New reservations, without subtracting those that are released."""
    unpriced: set[str] = field(default_factory=set)


def _sums_of(moves: Iterable[Move]) -> dict[str, _Sum]:
    sums: dict[str, _Sum] = {}
    for move in moves:
        sum_ = sums.setdefault(move.of_month, _Sum())
        sum_.committed += move.spent + move.reserved
        sum_.reserved += move.reserved
        sum_.asked += max(0, move.reserved)
        if not move.priced:
            sum_.unpriced.add(move.instance)
    return sums


def _sums_change(month_: str, sum_: _Sum) -> dict[str, Any]:
    adds = ["committed :committed", "reserved :reserved"]
    values: dict[str, Any] = {":committed": sum_.committed, ":reserved": sum_.reserved}
    if sum_.unpriced:
        adds.append("unpriced :unpriced")
        values[":unpriced"] = sum_.unpriced
    return {
        "Key": {"pk": SUMS, "sk": month_},
        "UpdateExpression": f"ADD {', '.join(adds)}",
        "ExpressionAttributeValues": values,
    }


def _merged(moves: Iterable[Move]) -> list[Move]:
    """Merge the moves of each entry, because a transaction may contain each item only once."""
    merged: dict[tuple[str, str], Move] = {}
    for move in moves:
        key = (move.of_month, f"{move.kind}#{move.id}")
        before = merged.get(key)
        if before is not None:
            move = Move(  # noqa: PLW2901 - the sum of both
                move.kind, move.id, move.instance, move.day,
                spent=before.spent + move.spent,
                reserved=before.reserved + move.reserved,
                seconds=before.seconds + move.seconds,
                priced=before.priced and move.priced,
                changes={**before.changes, **move.changes},
                month=move.month,
            )  # fmt: skip
        merged[key] = move
    return list(merged.values())


def _entry_change(move: Move) -> dict[str, Any]:
    sets = {"kind": move.kind, "id": move.id, "instance": move.instance, "day": move.day, **move.changes}
    if not move.priced:
        sets["priced"] = False
    names = {f"#{number}": name for number, name in enumerate(sets)}
    values = {f":{number}": table.storable(value) for number, value in enumerate(sets.values())}
    values |= {":spent": move.spent, ":reserved": move.reserved, ":seconds": table.storable(move.seconds)}
    return {
        "Key": {"pk": partition(move.of_month), "sk": f"{move.kind}#{move.id}"},
        "UpdateExpression": f"SET {', '.join(f'#{n} = :{n}' for n in range(len(sets)))} "
        "ADD spent :spent, reserved :reserved, seconds :seconds",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
