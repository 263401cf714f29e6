"""The month's money: reserved before anything that costs begins, settled with what was billed for it.

A month (UTC) has one item with its sums and one for each thing that cost. A reservation is open from before
the thing begins until what it cost is known; an item of its own says so, and each change of it, of its entry
and of the sums is one transaction. So of two callers who ask for the last dollar one gets it, a call that is
delivered twice counts once, and a crash leaves a reservation that the keeper settles, never a bill that
nobody counted. Inside, money is whole micro-dollars.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared import clock, table
from shared.ledger_months import (
    CALLED,
    Entry,
    Kind,
    Month,
    Totals,
    limit_usd,
    month,
    partition,
    refusal,
    this_month,
    to_kind,
    to_micro,
    to_micro_up,
    to_usd,
    totals,
)
from shared.ledger_postings import Changed, Move, post
from shared.spending_refused import LimitReached, PriceUnknown

__all__ = [
    "Entry",
    "Kind",
    "LimitReached",
    "Month",
    "OpenReservation",
    "PriceUnknown",
    "Totals",
    "extend",
    "is_settled",
    "limit_usd",
    "month",
    "open_reservation",
    "open_reservations",
    "release",
    "require",
    "reserve",
    "settle",
    "this_month",
    "to_usd",
    "totals",
]

_OPEN = "LEDGER#OPEN"
_TRIES = 8
_DAY = timedelta(days=1)


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
        raise PriceUnknown(what or CALLED[kind], instance)
    sums = totals()
    if to_micro(sums.spent_usd + sums.reserved_usd) + to_micro_up(most_usd) > to_micro(limit):
        raise refusal(kind, most_usd, what)


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
        raise PriceUnknown(CALLED[kind], instance)
    day, now = clock.day(), clock.stamp()
    most = to_micro_up(most_usd or 0)
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
        spent = to_micro(spent_usd)
        reserved = max(0, to_micro_up(most_usd) - spent)
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
        move = _move_of(held, spent=to_micro(usd) - held.spent, reserved=-held.reserved, changes=changes)
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
    found = table.get_all([(partition(month_), f"{kind}#{id_}") for month_ in sorted(months)])
    return any(item is not None and item.get("settled") for item in found)


def _busy(kind: Kind, id_: str) -> RuntimeError:
    return RuntimeError(f"The reservation of {kind} {id_} changed {_TRIES} times in a row. Try again.")


def _open(item: table.Item) -> OpenReservation:
    return OpenReservation(
        kind=to_kind(item["kind"]),
        id=str(item["id"]),
        instance=str(item["instance"]),
        month=str(item["month"]),
        day=str(item["day"]),
        reserved=int(item["reserved"]),
        spent=int(item["spent"]),
        reserved_at=str(item["reserved_at"]),
    )
