"""Keep the month's ledger: reserve money before paid work begins, settle what was billed for it.

A month (UTC) has one item with its totals and one entry for each job that costs money. A reservation is open
from before the job begins until its cost is known, and has an item of its own. Each change of that item, its
entry and the totals is one transaction. So if two callers ask for the last dollar, one gets it; a call that
is delivered twice counts once; and a crash leaves a reservation for the endpoint manager to settle, never
an uncounted bill. Amounts are whole micro-dollars internally.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts import table_keys
from shared import clock, table
from shared.spending.ledger_entries import (
    DISPLAY_NAMES,
    ConditionFailed,
    Entry,
    Kind,
    Month,
    Move,
    Totals,
    limit_reached,
    limit_usd,
    month,
    partition,
    post,
    this_month,
    to_kind,
    to_micro,
    to_micro_up,
    to_usd,
    totals,
)
from shared.spending.spending_refused import LimitReached, PriceUnknown

__all__ = [
    "Entry",
    "Kind",
    "LimitReached",
    "Month",
    "OpenReservation",
    "PriceUnknown",
    "Totals",
    "extend_reservation",
    "is_settled",
    "limit_usd",
    "month",
    "open_reservation",
    "open_reservations",
    "release_reservation",
    "require_budget",
    "reserve",
    "settle",
    "this_month",
    "to_usd",
    "totals",
]

_OPEN = table_keys.OPEN_RESERVATIONS
_TRIES = 8
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class OpenReservation:
    """A reservation that is not settled yet."""

    kind: Kind
    id: str
    instance: str
    month: str
    day: str
    reserved: int
    """The most that the job may still cost in addition to `spent`, in micro-dollars."""
    spent: int
    """What the job has cost so far, in micro-dollars."""
    reserved_at: clock.Utc


def open_reservations() -> list[OpenReservation]:
    """Read all reservations that are not settled; there are few at any time."""
    return [_open(item) for item in table.query(_OPEN)]


def require_budget(kind: Kind, most_usd: float | None, instance: str, *, what: str = "") -> None:
    """Check whether `reserve` would succeed now, without reserving anything.

    Raises:
        SpendingRefused: the job would exceed the month's limit, or its price is not known.
    """
    limit = limit_usd()
    if limit is None:
        return
    if most_usd is None:
        raise PriceUnknown(what or DISPLAY_NAMES[kind], instance)
    sums = totals()
    if to_micro(sums.spent_usd + sums.reserved_usd) + to_micro_up(most_usd) > to_micro(limit):
        raise limit_reached(kind, most_usd, what)


def reserve(
    kind: Kind, id_: str, instance: str, most_usd: float | None, *, limited: bool = True
) -> OpenReservation | None:
    """Reserve the most that a job may cost, before it begins. Repeating the call changes nothing.

    Args:
        kind: the kind of cost.
        id_: the job's name, or the batch's id.
        instance: the instance type that the job runs on.
        most_usd: the most that the job may cost; None if the price is not known.
        limited: whether the month's limit applies; False only for a job that is already running.

    Returns:
        The reservation; None if it is already settled.

    Raises:
        LimitReached: the job would exceed the month's limit; nothing was reserved.
        PriceUnknown: there is a limit, and the price is not known.
    """
    if most_usd is None and limited and limit_usd() is not None:
        raise PriceUnknown(DISPLAY_NAMES[kind], instance)
    day, now = clock.day(), clock.stamp()
    most = to_micro_up(most_usd or 0)
    changes = {"reserved_at": now}
    move = Move(kind, id_, instance, day, reserved=most, priced=most_usd is not None, changes=changes)
    key = f"{kind}#{id_}"
    create_open = {
        "Item": {
            "pk": _OPEN, "sk": key, "kind": kind, "id": id_, "instance": instance, "month": day[:7],
            "day": day, "reserved": most, "spent": 0, "reserved_at": now,
        },
        "ConditionExpression": "attribute_not_exists(pk)",
    }  # fmt: skip
    if is_settled(kind, id_):
        return None
    try:
        post([move], guard={"Put": create_open}, limited=limited)
    except ConditionFailed:
        return open_reservation(kind, id_)
    return open_reservation(kind, id_)


def open_reservation(kind: Kind, id_: str) -> OpenReservation | None:
    """Read one open reservation; None if it does not exist or is settled."""
    item = table.get(_OPEN, f"{kind}#{id_}")
    return _open(item) if item else None


def extend_reservation(kind: Kind, id_: str, *, most_usd: float, spent_usd: float = 0.0) -> None:
    """Change the most that an open reservation may cost, and how much of it is already spent.

    Raises:
        LimitReached: the change would exceed the month's limit; the reservation stays as it was.
    """
    for _ in range(_TRIES):
        held = open_reservation(kind, id_)
        if held is None:
            return None
        spent = to_micro(spent_usd)
        reserved = max(0, to_micro_up(most_usd) - spent)
        move = _move_of(held, spent=spent - held.spent, reserved=reserved - held.reserved)
        guard = {
            **_if_unchanged(held),
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
        except ConditionFailed:
            continue
    raise _contention(kind, id_)


def settle(
    kind: Kind,
    id_: str,
    usd: float,
    *,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> bool:
    """Replace an open reservation with what was billed.

    The cost counts in the month of the reservation.

    Returns:
        Whether there was an open reservation; False if it was never made or is already settled.
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
            **_if_unchanged(held),
            "ExpressionAttributeValues": {":r": held.reserved, ":s": held.spent},
        }
        try:
            post([move], guard={"Delete": guard}, limited=False)
        except ConditionFailed:
            continue
        return True
    raise _contention(kind, id_)


def release_reservation(kind: Kind, id_: str) -> bool:
    """Release the reservation of a job that never began, so that it can be made again.

    Returns:
        Whether there was an open reservation.
    """
    return _close(kind, id_, 0.0, {})


def _move_of(
    held: OpenReservation, *, spent: int, reserved: int, changes: Mapping[str, Any] | None = None
) -> Move:
    return Move(
        held.kind, held.id, held.instance, held.day,
        spent=spent, reserved=reserved, changes=changes or {}, month=held.month,
    )  # fmt: skip


def _if_unchanged(held: OpenReservation) -> dict[str, Any]:
    return {
        "Key": {"pk": _OPEN, "sk": f"{held.kind}#{held.id}"},
        "ConditionExpression": "reserved = :r AND spent = :s",
    }


def is_settled(kind: Kind, id_: str) -> bool:
    """Return whether a job was settled this month or last month.

    Older months need not be read: a duplicate event arrives soon after the first one.
    """
    now = clock.now()
    months = {f"{now:%Y-%m}", f"{now.replace(day=1) - _DAY:%Y-%m}"}
    found = table.get_all([(partition(month_), f"{kind}#{id_}") for month_ in sorted(months)])
    return any(item is not None and item.get("settled") for item in found)


def _contention(kind: Kind, id_: str) -> RuntimeError:
    return RuntimeError(
        f"The reservation of {kind} {id_} was not changed, because other calls changed it {_TRIES} times in "
        "a row. Try again."
    )


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
