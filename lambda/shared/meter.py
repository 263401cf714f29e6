"""What the endpoint costs: counted in the ledger as time passes, and set aside before it passes.

One watermark, `counted_until`, only ever moves forward. Each move is one transaction with the ledger, and
conditional on the meter as it was read: of two that look at once one counts, what a crash left out is counted
at the next look, and a look that is older than the watermark counts nothing.

That SageMaker is about to be asked to delete the machines is noted before: if the caller dies in between, the
next look finds nothing, and counts until then.

A lease is money set aside for the machines until some minutes from now. It is taken before machines are asked
for, and the keeper extends it at each tick; when the month has no more money the machines go before it runs
out. All machines are counted, also those that a blue/green update starts beside the ones that answer. If
their number changed between two looks and nothing says when, the larger number counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared import clock, ledger_months, prices, table
from shared.ledger_postings import ConditionFailed, Move, cost_micro, post
from shared.models import Meter
from shared.prices import Price
from shared.spending_refused import PriceUnknown, SpendingRefused

START_LEASE = timedelta(minutes=45)
"""Longer than SageMaker tries to start an endpoint: until that has ended it takes no deletion."""
SERVING_LEASE = timedelta(minutes=15)
"""Two ticks of the keeper and a deletion."""
_KEY = ("HOSTING", "METER")
_TRIES = 5
_ASKING = timedelta(minutes=2)
"""For this long machines that were asked for may not be there to be seen."""


@dataclass(frozen=True)
class Machines:
    """What bills for one endpoint."""

    fleets: Mapping[str, int]
    """How many, by instance type; the type is `unknown` if the endpoint's configuration does not say it."""
    made_at: datetime
    """When the endpoint was made."""
    changed_at: datetime | None = None
    """When its status last changed, and with it perhaps its machines."""
    busy: bool = False
    """Whether SageMaker is changing it now."""


@dataclass(frozen=True)
class _Lease:
    """What is to be set aside."""

    until: datetime
    planned: Mapping[str, int] = field(default_factory=dict)
    spare: Mapping[str, int] = field(default_factory=dict)
    """Machines that scaling may add before the next look."""


def read() -> Meter:
    """Read the meter; before the first endpoint it stands at nothing."""
    return Meter.model_validate(table.get(*_KEY) or {})


def look(machines: Machines | None, at: datetime, *, ended_at: datetime | None = None) -> None:
    """Count what was there up to an instant.

    Args:
        machines: what was seen; None if nothing that bills was.
        at: when it was seen.
        ended_at: if nothing was seen: when it ended, as far as anybody can tell.
    """
    _move(machines, at, ended_at=ended_at)


def note_deletion(machines: Machines, at: datetime) -> None:
    """Count what is there, and note that SageMaker is about to be asked to delete it.

    If the caller dies before it counts the end, the next look finds nothing, and counts until here.
    """
    _move(machines, at, deleted=True)


def end(machines: Machines | None, at: datetime) -> None:
    """Count what was there up to its end, and set nothing aside any more."""
    _move(machines, at, ended=True)


def extend(machines: Machines, at: datetime, *, most_instances: int = 1) -> None:
    """Count what was there, and set aside what it costs for some minutes more.

    Args:
        machines: what was seen.
        at: when.
        most_instances: how many machines scaling may have answer at once.

    Raises:
        SpendingRefused: the month has no money for that. What was there is counted all the same.
    """
    if machines.busy:
        # It cannot be deleted now; what was set aside when the change began lasts until it is over.
        until = clock.instant(read().lease_until or clock.text(at))
        lease = _Lease(max(until, at + SERVING_LEASE))
    else:
        spare = {
            name: max(0, most_instances - count)
            for name, count in machines.fleets.items()
            if most_instances > count
        }
        lease = _Lease(at + SERVING_LEASE, spare=spare)
    try:
        _move(machines, at, lease=lease)
    except SpendingRefused:
        look(machines, at)
        raise


def reserve_start(instance: str, instances: int = 1, *, watch_seconds: float = 0) -> None:
    """Set aside what machines cost until they answer, before SageMaker is asked for them.

    Args:
        instance: their type.
        instances: how many.
        watch_seconds: for how long those that they replace stay after that.

    Raises:
        SpendingRefused: the month has no money for that, or their price is not known.
    """
    now = clock.now()
    until = now + START_LEASE + timedelta(seconds=watch_seconds)
    _move(None, now, lease=_Lease(until, planned={instance: instances}), looked=False)


def start_usd(instance: str, instances: int = 1) -> float | None:
    """Return what is set aside for a start; None if the price is not known."""
    price = prices.usd_per_hour("hosting", instance)
    return None if price is None else instances * price.usd_per_hour * START_LEASE.total_seconds() / 3600


def _move(
    machines: Machines | None,
    at: datetime,
    *,
    ended: bool = False,
    deleted: bool = False,
    ended_at: datetime | None = None,
    lease: _Lease | None = None,
    looked: bool = True,
) -> None:
    """Move the watermark and what is set aside.

    Args:
        machines: what was seen.
        at: when.
        ended: whether it ended then.
        deleted: whether it is about to be deleted.
        ended_at: when what is no more ended.
        lease: what is to be set aside from now on; None keeps the lease's end.
        looked: whether `machines` was looked at; else it is as it was.
    """
    for _ in range(_TRIES):
        before = read()
        until = clock.instant(before.counted_until) if before.counted_until else None
        if machines is None and looked and not ended and not before.fleets:
            asked = before.planned_at is not None and not _is_settled(None, before.planned_at, at)
            if asked or not before.lease:
                return
        if until is not None and at <= until:
            if lease is None and not ended:
                return
            # Its end is its end, also if another has just counted up to this instant.
            at, looked = until, looked and ended
        if not looked:
            machines = _as_before(before, at)
        after = _after(before, machines, at, ended=ended, deleted=deleted, lease=lease)
        gone_at = ended_at or (clock.instant(before.deletion_at) if before.deletion_at else None)
        stretches = _stretches(before, machines, at, gone_at)
        moves = [move for stretch in stretches for move in _spent(*stretch)] + _lease_moves(before, after)
        try:
            post(moves, guard=_guard(before, after), limited=lease is not None)
        except ConditionFailed:
            continue
        return
    if lease is not None or ended:
        raise RuntimeError(f"The endpoint's meter changed {_TRIES} times in a row. Try again.")


def _as_before(before: Meter, at: datetime) -> Machines | None:
    """Return what is there as the meter last saw it."""
    if not before.fleets:
        return None
    return Machines(before.fleets, clock.instant(before.counted_until) if before.counted_until else at)


def _after(
    before: Meter,
    machines: Machines | None,
    at: datetime,
    *,
    ended: bool,
    deleted: bool,
    lease: _Lease | None,
) -> Meter:
    fleets = {} if ended or machines is None else dict(machines.fleets)
    planned, planned_at, lease_until = dict(before.planned), before.planned_at, before.lease_until
    if lease is not None and lease.planned:
        planned, planned_at = dict(lease.planned), clock.text(at)
    elif ended or _is_settled(machines, planned_at, at):
        planned, planned_at = {}, None
    if lease is not None:
        lease_until = clock.text(lease.until)
    elif not fleets and not planned:
        lease_until = None
    spare = dict(lease.spare) if lease is not None else {}
    aside = _aside(at, lease_until, [fleets, planned, spare], limited=lease is not None)
    kept = aside > 0
    return Meter(
        revision=before.revision + 1,
        counted_until=clock.text(at),
        fleets=fleets,
        deletion_at=clock.text(at) if deleted else None,
        planned=planned,
        planned_at=planned_at,
        lease_until=lease_until,
        lease=aside,
        lease_day=f"{at:%Y-%m-%d}" if kept else None,
        lease_instance=next(iter([*fleets, *planned])) if kept else None,
    )


def _is_settled(machines: Machines | None, planned_at: str | None, at: datetime) -> bool:
    """Whether machines that were asked for are there to be seen now, or never came."""
    if planned_at is None:
        return True
    asked_at = clock.instant(planned_at)
    came = machines is not None and (machines.busy or _is_over(machines, asked_at))
    return came or at - asked_at > _ASKING


def _is_over(machines: Machines, asked_at: datetime) -> bool:
    """Whether a change that was asked for has begun and ended."""
    return not machines.busy and machines.changed_at is not None and machines.changed_at > asked_at


def _aside(at: datetime, until: clock.Utc | None, fleets: list[dict[str, int]], *, limited: bool) -> int:
    """Return what machines cost from an instant until another, in micro-dollars."""
    seconds = (clock.instant(until) - at).total_seconds() if until else 0.0
    total, known = 0, _prices(*fleets)
    for fleet in fleets:
        for instance, count in fleet.items():
            price = known[instance]
            if price is None and limited and ledger_months.limit_usd() is not None:
                raise PriceUnknown("The machine that hosts the model", instance)
            total += cost_micro(count * price.usd_per_hour, max(0.0, seconds)) if price else 0
    return total


def _stretches(
    before: Meter, machines: Machines | None, at: datetime, gone_at: datetime | None
) -> list[tuple[Mapping[str, int], datetime, datetime]]:
    """Return what was there between the watermark and an instant, and from when to when."""
    until = clock.instant(before.counted_until) if before.counted_until else None
    stretches: list[tuple[Mapping[str, int], datetime, datetime]] = []
    another = machines is not None and (until is None or machines.made_at > until)
    if before.fleets and until:
        if machines is None:
            stretches.append((before.fleets, until, min(at, gone_at or at)))
        elif another:
            # One that went unseen, with another in its place, lived until then at most.
            stretches.append((before.fleets, until, min(machines.made_at, gone_at or machines.made_at)))
        elif machines.fleets == before.fleets:
            stretches.append((before.fleets, until, at))
        elif machines.changed_at is not None and until < machines.changed_at <= at:
            stretches.append((before.fleets, until, machines.changed_at))
            stretches.append((machines.fleets, machines.changed_at, at))
        else:
            stretches.append((_larger(before.fleets, machines.fleets), until, at))
    asked_at = clock.instant(before.planned_at) if before.planned_at else None
    if machines is not None and asked_at and before.fleets and not another and _is_over(machines, asked_at):
        # A whole update went unseen: what it started stood beside what answered until it was over.
        stretches.append((before.planned, asked_at, min(machines.changed_at or at, at)))
    if machines is not None and (another or not before.fleets):
        stretches.append((machines.fleets, max(machines.made_at, until or machines.made_at), at))
    return stretches


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in [*one, *other]}


def _spent(fleets: Mapping[str, int], start: datetime, stop: datetime) -> list[Move]:
    """Return what machines cost from an instant to another, a move for each day (UTC) and type."""
    moves = []
    known = _prices(fleets)
    while start < stop:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        seconds = (min(stop, midnight) - start).total_seconds()
        for instance, count in fleets.items():
            price = known[instance]
            moves.append(
                _of_day(
                    instance,
                    f"{start:%Y-%m-%d}",
                    spent=cost_micro(count * price.usd_per_hour, seconds) if price else 0,
                    seconds=count * seconds,
                    priced=price is not None,
                )
            )
        start = midnight
    return moves


def _prices(*fleets: Mapping[str, int]) -> dict[str, Price | None]:
    instances = dict.fromkeys(name for fleet in fleets for name in fleet)
    named: list[tuple[prices.Kind, str]] = [("hosting", instance) for instance in instances]
    return {instance: price for (_, instance), price in prices.of_all(named).items()}


def _lease_moves(before: Meter, after: Meter) -> list[Move]:
    moves = []
    for meter, sign in ((before, -1), (after, 1)):
        if meter.lease and meter.lease_instance and meter.lease_day:
            moves.append(_of_day(meter.lease_instance, meter.lease_day, reserved=sign * meter.lease))
    return moves


def _of_day(
    instance: str, day: str, *, spent: int = 0, reserved: int = 0, seconds: float = 0.0, priced: bool = True
) -> Move:
    id_ = f"{day} {instance}"
    return Move(
        "endpoint", id_, instance, day, spent=spent, reserved=reserved, seconds=seconds, priced=priced
    )


def _guard(before: Meter, after: Meter) -> dict[str, dict[str, object]]:
    item = {**table.storable(table.without_none(after.model_dump())), "pk": _KEY[0], "sk": _KEY[1]}
    return {
        "Put": {
            "Item": item,
            "ConditionExpression": "attribute_not_exists(revision) OR revision = :before",
            "ExpressionAttributeValues": {":before": before.revision},
        }
    }
