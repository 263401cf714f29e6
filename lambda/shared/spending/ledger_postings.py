"""Change the ledger's entries, its totals and one more item in one transaction, within the limit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared import table
from shared.spending.ledger_months import SUMS, Kind, limit_usd, partition, refusal, to_micro, to_usd


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
                raise refusal(moves[0].kind, to_usd(sum_.asked))
        operations.append({"Update": change})
    operations += [{"Update": _entry_change(move)} for move in _merged(moves)]
    failed = table.transact(operations)
    if not failed:
        return
    if guard and 0 in failed:
        raise ConditionFailed
    raise refusal(moves[0].kind, to_usd(max(sum_.asked for sum_ in sums.values())))


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
