"""The month's money: reserved before anything that costs begins, settled with what was billed for it.

A month (UTC) has one item with its sums and one for each thing that cost. A reservation is open from before
the thing begins until what it cost is known; an item of its own says so, and each change of it, of its entry
and of the sums is one transaction. So of two callers who ask for the last dollar one gets it, a call that is
delivered twice counts once, and a crash leaves a reservation that the keeper settles, never a bill that
nobody counted. Inside, money is whole micro-dollars.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from shared import clock, environment, table
from shared.spending_refused import LimitReached, PriceUnknown

Kind = Literal["training", "evaluation", "search", "endpoint", "batch", "notebook"]
"""What costs. A training that belongs to a search is part of that search."""

_SUMS, _OPEN = "LEDGER", "LEDGER#OPEN"
_MICRO = 1_000_000
_TRIES = 8
_DAY = timedelta(days=1)
_CALLED: dict[Kind, str] = {
    "training": "The training",
    "evaluation": "The evaluation",
    "search": "The search",
    "endpoint": "The machine that hosts the model",
    "batch": "The batch",
    "notebook": "The notebook",
}


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


@dataclass(frozen=True)
class OpenReservation:
    """A reservation whose cost is not settled yet."""

    kind: Kind
    id: str
    instance: str
    month: str
    day: str
    reserved: int
    """Micro-dollars that it may still cost beside `spent`."""
    spent: int
    reserved_at: clock.Utc


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
    """Where it differs from the day's."""

    @property
    def of_month(self) -> str:
        """The month that it counts in."""
        return self.month or self.day[:7]


def limit_usd() -> float | None:
    """Return how much a month may cost; None if there is no limit."""
    return environment.read(environment.SpendingLimit).monthly_limit_usd or None


def this_month() -> str:
    """Return the month of now (UTC), as `2026-11`."""
    return clock.day()[:7]


def totals(month: str | None = None) -> Totals:
    """Read the sums of a month: one item."""
    month = month or this_month()
    item = table.get(_SUMS, month) or {}
    committed, reserved = int(item.get("committed", 0)), int(item.get("reserved", 0))
    return Totals(
        month=month,
        limit_usd=limit_usd(),
        spent_usd=_usd(committed - reserved),
        reserved_usd=_usd(reserved),
        unpriced=frozenset(item.get("unpriced", ())),
    )


def month(month: str | None = None) -> Month:
    """Read a month with its entries, by day and kind: one item and one query."""
    sums = totals(month)
    items = table.every(_partition(sums.month))
    # What was reserved and never began is no entry.
    entries = [_entry(item) for item in items if _is_entry(item)]
    entries.sort(key=lambda entry: (entry.day, entry.kind, entry.id))
    return Month(**vars(sums), entries=entries)


def open_reservations() -> list[OpenReservation]:
    """Read what has been reserved and not settled; there are few at any time."""
    return [_open(item) for item in table.every(_OPEN)]


def require(kind: Kind, most_usd: float | None, instance: str, *, what: str = "") -> None:
    """Refuse early what `reserve` would refuse now. Nothing is reserved.

    Raises:
        SpendingRefused: if the month has no room for it, or its price is not known.
    """
    limit = limit_usd()
    if limit is None:
        return
    if most_usd is None:
        raise PriceUnknown(what or _CALLED[kind], instance)
    sums = totals()
    if _micro(sums.spent_usd + sums.reserved_usd) + _micro_up(most_usd) > _micro(limit):
        raise _refusal(kind, most_usd, what)


def reserve(
    kind: Kind, id_: str, instance: str, most_usd: float | None, *, limited: bool = True
) -> OpenReservation | None:
    """Set aside what something may cost at most, before it begins. Doing it again changes nothing.

    Args:
        kind: what it is.
        id_: its job's name, or a batch's id.
        instance: what it runs on.
        most_usd: what it costs at most; None if the price is not known.
        limited: whether the month's limit counts. Only for what runs already it does not.

    Returns:
        The reservation; None if it has been settled already.

    Raises:
        LimitReached: nothing was reserved.
        PriceUnknown: there is a limit and no price.
    """
    if most_usd is None and limited and limit_usd() is not None:
        raise PriceUnknown(_CALLED[kind], instance)
    day, now = clock.day(), clock.stamp()
    most = _micro_up(most_usd or 0)
    begun = {"reserved_at": now}
    move = Move(kind, id_, instance, day, reserved=most, priced=most_usd is not None, changes=begun)
    key = f"{kind}#{id_}"
    for_once = {
        "Item": {
            "pk": _OPEN, "sk": key, "kind": kind, "id": id_, "instance": instance, "month": day[:7],
            "day": day, "reserved": most, "spent": 0, "reserved_at": now,
        },
        "ConditionExpression": "attribute_not_exists(pk)",
    }  # fmt: skip
    if is_settled(kind, id_):
        return None
    try:
        post([move], guard={"Put": for_once}, limited=limited)
    except Changed:
        return open_reservation(kind, id_)
    return open_reservation(kind, id_)


def open_reservation(kind: Kind, id_: str) -> OpenReservation | None:
    """Read one open reservation; None if there is none, or it is settled."""
    item = table.get(_OPEN, f"{kind}#{id_}")
    return _open(item) if item else None


def extend(kind: Kind, id_: str, *, most_usd: float, spent_usd: float = 0.0) -> None:
    """Change what an open reservation may cost at most, of which something may be spent already.

    Raises:
        LimitReached: the month has no room for more; the reservation is as before.
    """
    for _ in range(_TRIES):
        held = open_reservation(kind, id_)
        if held is None:
            return None
        spent = _micro(spent_usd)
        reserved = max(0, _micro_up(most_usd) - spent)
        move = _move_of(held, spent=spent - held.spent, reserved=reserved - held.reserved)
        guard = {
            **_as_it_was(held),
            "UpdateExpression": "SET reserved = :new, spent = :spent",
            "ExpressionAttributeValues": {
                ":r": held.reserved,
                ":s": held.spent,
                ":new": reserved,
                ":spent": spent,
            },
        }
        try:
            return post([move], guard={"Update": guard})
        except Changed:
            continue
    raise _busy(kind, id_)


def settle(
    kind: Kind,
    id_: str,
    usd: float,
    *,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> bool:
    """Replace an open reservation by what was billed; returns False if it was settled already, or never made.

    It counts in the month in which it was reserved.
    """
    times = {"started_at": started_at, "ended_at": ended_at or clock.now()}
    known = {name: clock.text(at) for name, at in times.items() if at is not None}
    return _close(kind, id_, usd, known | {"settled": True})


def _close(kind: Kind, id_: str, usd: float, changes: Mapping[str, Any]) -> bool:
    for _ in range(_TRIES):
        held = open_reservation(kind, id_)
        if held is None:
            return False
        move = _move_of(held, spent=_micro(usd) - held.spent, reserved=-held.reserved, changes=changes)
        guard = {
            **_as_it_was(held),
            "ExpressionAttributeValues": {":r": held.reserved, ":s": held.spent},
        }
        try:
            post([move], guard={"Delete": guard}, limited=False)
        except Changed:
            continue
        return True
    raise _busy(kind, id_)


def release(kind: Kind, id_: str) -> bool:
    """Give back a reservation whose job never began, so that it can be made again; False if none is open."""
    return _close(kind, id_, 0.0, {})


class Changed(Exception):  # noqa: N818 - a signal to look again
    """The guard of a transaction did not hold: somebody else was first."""


def post(
    moves: Iterable[Move], *, guard: Mapping[str, Mapping[str, Any]] | None = None, limited: bool = True
) -> None:
    """Change entries and the sums of their months in one transaction.

    Args:
        moves: the changes.
        guard: one more operation of the transaction, whose condition decides whether any of it is done.
        limited: whether to refuse what would bring a month that more is reserved in above its limit.

    Raises:
        Changed: the guard's condition does not hold.
        LimitReached: a month has no room.
    """
    moves = list(moves)
    operations: list[Mapping[str, Mapping[str, Any]]] = [guard] if guard else []
    sums = _sums_of(moves)
    limit = limit_usd() if limited else None
    for month_, sum_ in sums.items():
        change = _sums_change(month_, sum_)
        if limit is not None and sum_.asked > 0 and sum_.committed > 0:
            room = _micro(limit) - sum_.committed
            change["ConditionExpression"] = "attribute_not_exists(committed) OR committed <= :room"
            change["ExpressionAttributeValues"][":room"] = room
            if room < 0:
                raise _refusal(moves[0].kind, _usd(sum_.asked))
        operations.append({"Update": change})
    operations += [{"Update": _entry_change(move)} for move in _merged(moves)]
    failed = table.transact(operations)
    if not failed:
        return
    if guard and 0 in failed:
        raise Changed
    raise _refusal(moves[0].kind, _usd(max(sum_.asked for sum_ in sums.values())))


def cost_micro(usd_per_hour: float, seconds: float) -> int:
    """Return what an instance costs for so long, in micro-dollars."""
    return round(usd_per_hour * _MICRO * seconds / 3600)


def _refusal(kind: Kind, asked_usd: float, what: str = "") -> LimitReached:
    sums = totals()
    return LimitReached(
        what or _CALLED[kind],
        spent_usd=sums.spent_usd,
        reserved_usd=sums.reserved_usd,
        asked_usd=asked_usd,
        limit_usd=sums.limit_usd or 0.0,
    )


@dataclass
class _Sum:
    """How the sums of a month change."""

    committed: int = 0
    """Spent and reserved together."""
    reserved: int = 0
    asked: int = 0
    """What is reserved anew, whatever is given back for it."""
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
        "Key": {"pk": _SUMS, "sk": month_},
        "UpdateExpression": f"ADD {', '.join(adds)}",
        "ExpressionAttributeValues": values,
    }


def _merged(moves: Iterable[Move]) -> list[Move]:
    """Join the moves of one entry: a transaction takes each item once."""
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
        "Key": {"pk": _partition(move.of_month), "sk": f"{move.kind}#{move.id}"},
        "UpdateExpression": f"SET {', '.join(f'#{n} = :{n}' for n in range(len(sets)))} "
        "ADD spent :spent, reserved :reserved, seconds :seconds",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def _move_of(
    held: OpenReservation, *, spent: int, reserved: int, changes: Mapping[str, Any] | None = None
) -> Move:
    return Move(
        held.kind, held.id, held.instance, held.day,
        spent=spent, reserved=reserved, changes=changes or {}, month=held.month,
    )  # fmt: skip


def _as_it_was(held: OpenReservation) -> dict[str, Any]:
    return {
        "Key": {"pk": _OPEN, "sk": f"{held.kind}#{held.id}"},
        "ConditionExpression": "reserved = :r AND spent = :s",
    }


def is_settled(kind: Kind, id_: str) -> bool:
    """Whether this was settled, in this month or the one before: what is delivered twice comes soon."""
    now = clock.now()
    months = {f"{now:%Y-%m}", f"{now.replace(day=1) - _DAY:%Y-%m}"}
    found = table.get_all([(_partition(month_), f"{kind}#{id_}") for month_ in sorted(months)])
    return any(item is not None and item.get("settled") for item in found)


def _busy(kind: Kind, id_: str) -> RuntimeError:
    return RuntimeError(f"The reservation of {kind} {id_} changed {_TRIES} times in a row. Try again.")


def _partition(month_: str) -> str:
    return f"LEDGER#{month_}"


def _is_entry(item: table.Item) -> bool:
    return any(item.get(name) for name in ("settled", "spent", "reserved", "seconds"))


def _entry(item: table.Item) -> Entry:
    return Entry(
        kind=_kind(item["kind"]),
        id=str(item["id"]),
        instance=str(item["instance"]),
        day=str(item["day"]),
        reserved_usd=_usd(int(item.get("reserved", 0))),
        spent_usd=_usd(int(item.get("spent", 0))),
        seconds=float(item.get("seconds", 0)),
        priced=bool(item.get("priced", True)),
        started_at=item.get("started_at"),
        ended_at=item.get("ended_at"),
    )


def _open(item: table.Item) -> OpenReservation:
    return OpenReservation(
        kind=_kind(item["kind"]),
        id=str(item["id"]),
        instance=str(item["instance"]),
        month=str(item["month"]),
        day=str(item["day"]),
        reserved=int(item["reserved"]),
        spent=int(item["spent"]),
        reserved_at=str(item["reserved_at"]),
    )


def _kind(written: Any) -> Kind:
    return next(kind for kind in get_args(Kind) if kind == written)  # type: ignore[no-any-return]


def _usd(micro: int) -> float:
    return micro / _MICRO


def _micro(usd: float) -> int:
    return round(usd * _MICRO)


def _micro_up(usd: float) -> int:
    """Round up, so that no reservation is less than it may cost; what is a whole number already stays."""
    return math.ceil(round(usd * _MICRO, 3))
