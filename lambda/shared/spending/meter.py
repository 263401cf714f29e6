"""Meter the endpoint: record in the ledger what it has cost, and reserve what it will cost next.

A watermark, `counted_until`, only moves forward. Each move is one transaction with the ledger, conditional on
the meter as it was read. So if two callers record at once, only one counts; the next observation counts what
a crash left out; and an observation older than the watermark counts nothing.

A deletion is recorded before it is requested. If the caller dies in between, the next observation finds no
endpoint, and counts until the recorded time.

A lease is a reservation for the instances until some minutes from now. It is acquired before instances are
requested, and the endpoint manager extends it at each tick; if the month's limit leaves too little, the
endpoint is deleted before the lease ends. All instances are counted, including those that a blue/green
update adds. If their number changed between two observations at an unknown time, the larger number counts.
If SageMaker accepted a request for instances, they count even if they were gone before the next observation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from boto3.dynamodb.conditions import Attr

from contracts import table_keys
from shared import clock, table
from shared.items import Meter
from shared.spending import ledger_entries, prices
from shared.spending.ledger_entries import ConditionFailed, Move, cost_micro, post
from shared.spending.prices import Price
from shared.spending.spending_refused import PriceUnknown, SpendingRefused

START_LEASE = timedelta(minutes=45)
"""Longer than SageMaker tries to start an endpoint, during which it refuses to delete it."""
SERVING_LEASE = timedelta(minutes=15)
"""Enough for two ticks of the endpoint manager and a deletion."""
_KEY = table_keys.METER
_TRIES = 5
_VISIBLE_AFTER = timedelta(minutes=2)
"""How long requested instances may not be visible yet."""


@dataclass(frozen=True)
class ObservedInstances:
    """The billed instances of an endpoint at the time of an observation."""

    fleets: Mapping[str, int]
    """Number of instances by instance type, which is `unknown` if the configuration cannot be read."""
    made_at: datetime
    """When the endpoint was created."""
    changed_at: datetime | None = None
    """When its status last changed, possibly with its instances; None if they did not change then."""
    busy: bool = False
    """Whether SageMaker is creating or updating it now."""


@dataclass(frozen=True)
class _Lease:
    """A reservation to be made for instances."""

    until: datetime
    planned: Mapping[str, int] = field(default_factory=dict)
    spare: Mapping[str, int] = field(default_factory=dict)
    """Instances that scaling may add before the next observation."""


def read_meter() -> Meter:
    """Read the meter; it is empty before the first endpoint."""
    return Meter.model_validate(table.get(*_KEY) or {})


def record(observed: ObservedInstances | None, at: datetime, *, ended_at: datetime | None = None) -> None:
    """Record an observation: count the instances' costs up to that time.

    Args:
        observed: the observed instances; None if there were none.
        at: time of the observation.
        ended_at: if there were none, when they ended as far as that is known.
    """
    _move(observed, at, ended_at=ended_at)


def record_deletion(observed: ObservedInstances, at: datetime) -> None:
    """Count the instances' costs, and record that their deletion is about to be requested.

    If the caller dies before it records the end, the next observation finds none and counts until this time.
    """
    _move(observed, at, deleted=True)


def close(observed: ObservedInstances | None, at: datetime) -> None:
    """Count the instances' costs up to their end, and release the lease."""
    _move(observed, at, ended=True)


def extend_lease(observed: ObservedInstances, at: datetime, *, most_instances: int = 1) -> None:
    """Count the instances' costs, and extend their lease by some minutes.

    Args:
        observed: the observed instances.
        at: time of the observation.
        most_instances: the most instances that scaling may run at once.

    Raises:
        SpendingRefused: the month's limit leaves too little for that. The costs so far are counted anyway.
    """
    if observed.busy:
        # It cannot be deleted now; the lease from the start of the change lasts until its end.
        until = clock.instant(read_meter().lease_until or clock.text(at))
        lease = _Lease(max(until, at + SERVING_LEASE))
    else:
        spare = {
            name: max(0, most_instances - count)
            for name, count in observed.fleets.items()
            if most_instances > count
        }
        lease = _Lease(at + SERVING_LEASE, spare=spare)
    try:
        _move(observed, at, lease=lease)
    except SpendingRefused:
        record(observed, at)
        raise


def reserve_start(instance: str, instances: int = 1, *, watch_seconds: float = 0) -> None:
    """Reserve what instances cost until they are in service, before they are requested from SageMaker.

    Args:
        instance: their instance type.
        instances: their number.
        watch_seconds: how long the instances that they replace stay after that.

    Raises:
        SpendingRefused: the month's limit leaves too little for that, or the price is not known.
    """
    now = clock.now()
    until = now + START_LEASE + timedelta(seconds=watch_seconds)
    _move(None, now, lease=_Lease(until, planned={instance: instances}), from_observation=False)


def confirm_start() -> None:
    """Record that SageMaker accepted the request for the reserved instances.

    They are counted even if they are never observed, for instance because the guard deleted the endpoint
    while no function could run.
    """
    table.update(*_KEY, {"accepted": True}, only_if=Attr("planned_at").exists())


def start_usd(instance: str, instances: int = 1) -> float | None:
    """Return what `reserve_start` reserves; None if the price is not known."""
    price = prices.usd_per_hour("hosting", instance)
    return None if price is None else instances * price.usd_per_hour * START_LEASE.total_seconds() / 3600


def _move(
    observed: ObservedInstances | None,
    at: datetime,
    *,
    ended: bool = False,
    deleted: bool = False,
    ended_at: datetime | None = None,
    lease: _Lease | None = None,
    from_observation: bool = True,
) -> None:
    """Move the watermark, and change the lease.

    Args:
        observed: the observed instances.
        at: time of the observation.
        ended: whether the instances end at that time.
        deleted: whether they are about to be deleted.
        ended_at: if there are none, when the instances ended.
        lease: the new lease; None keeps the current end of the lease.
        from_observation: whether `observed` was observed; otherwise the last observation is used.
    """
    for _ in range(_TRIES):
        before = read_meter()
        until = clock.instant(before.counted_until) if before.counted_until else None
        if observed is None and from_observation and not ended and not before.fleets:
            requested = before.planned_at is not None and not _is_settled(None, before.planned_at, at)
            if requested or not before.lease:
                return
        if until is not None and at <= until:
            if lease is None and not ended:
                return
            # Record the end even if another caller has just counted up to this time.
            at, from_observation = until, from_observation and ended
        if not from_observation:
            observed = _last_observation(before, at)
        after = _after(before, observed, at, ended=ended, deleted=deleted, lease=lease)
        gone_at = ended_at or (clock.instant(before.deletion_at) if before.deletion_at else None)
        stretches = _stretches(before, observed, at, gone_at)
        if observed is None and from_observation and not ended and ended_at is None and not after.planned:
            stretches += _never_observed(before, at, gone_at)
        moves = [move for stretch in stretches for move in _spent(*stretch)] + _lease_moves(before, after)
        try:
            post(moves, guard=_guard(before, after), limited=lease is not None)
        except ConditionFailed:
            continue
        return
    if lease is not None or ended:
        raise RuntimeError(
            f"The endpoint's costs were not recorded, because other calls changed them {_TRIES} times in a "
            "row. Try again."
        )


def _last_observation(before: Meter, at: datetime) -> ObservedInstances | None:
    """Return the instances of the last observation."""
    if not before.fleets:
        return None
    return ObservedInstances(
        before.fleets, clock.instant(before.counted_until) if before.counted_until else at
    )


def _after(
    before: Meter,
    observed: ObservedInstances | None,
    at: datetime,
    *,
    ended: bool,
    deleted: bool,
    lease: _Lease | None,
) -> Meter:
    fleets = {} if ended or observed is None else dict(observed.fleets)
    planned, planned_at, accepted = dict(before.planned), before.planned_at, before.accepted
    lease_until = before.lease_until
    if lease is not None and lease.planned:
        planned, planned_at, accepted = dict(lease.planned), clock.text(at), False
    elif ended or _is_settled(observed, planned_at, at):
        planned, planned_at, accepted = {}, None, False
    if lease is not None:
        lease_until = clock.text(lease.until)
    elif not fleets and not planned:
        lease_until = None
    spare = dict(lease.spare) if lease is not None else {}
    reserved = _reservation_micro(at, lease_until, [fleets, planned, spare], limited=lease is not None)
    return Meter(
        revision=before.revision + 1,
        counted_until=clock.text(at),
        fleets=fleets,
        deletion_at=clock.text(at) if deleted else None,
        planned=planned,
        planned_at=planned_at,
        accepted=accepted,
        lease_until=lease_until,
        lease=reserved,
        lease_day=f"{at:%Y-%m-%d}" if reserved else None,
        lease_instance=next(iter([*fleets, *planned])) if reserved else None,
    )


def _is_settled(observed: ObservedInstances | None, planned_at: str | None, at: datetime) -> bool:
    """Return whether requested instances are visible by now, or will not come."""
    if planned_at is None:
        return True
    requested_at = clock.instant(planned_at)
    came = observed is not None and (observed.busy or _is_over(observed, requested_at))
    return came or at - requested_at > _VISIBLE_AFTER


def _is_over(observed: ObservedInstances, requested_at: datetime) -> bool:
    """Return whether a requested change has begun and ended."""
    return not observed.busy and observed.changed_at is not None and observed.changed_at > requested_at


def _reservation_micro(
    at: datetime, until: clock.Utc | None, fleets: list[dict[str, int]], *, limited: bool
) -> int:
    """Return what a reservation of instances from a time to another costs, in micro-dollars."""
    seconds = (clock.instant(until) - at).total_seconds() if until else 0.0
    total, known = 0, _prices(*fleets)
    for fleet in fleets:
        for instance, count in fleet.items():
            price = known[instance]
            if price is None and limited and ledger_entries.limit_usd() is not None:
                raise PriceUnknown("The instance that hosts the model", instance)
            total += cost_micro(count * price.usd_per_hour, max(0.0, seconds)) if price else 0
    return total


def _stretches(
    before: Meter, observed: ObservedInstances | None, at: datetime, gone_at: datetime | None
) -> list[tuple[Mapping[str, int], datetime, datetime]]:
    """Return the instances between the watermark and a time, each with its start and end."""
    until = clock.instant(before.counted_until) if before.counted_until else None
    stretches: list[tuple[Mapping[str, int], datetime, datetime]] = []
    another = observed is not None and (until is None or observed.made_at > until)
    if before.fleets and until:
        if observed is None:
            stretches.append((before.fleets, until, min(at, gone_at or at)))
        elif another:
            # An unobserved deletion: the old endpoint existed at most until the new one was created.
            stretches.append((before.fleets, until, min(observed.made_at, gone_at or observed.made_at)))
        elif observed.fleets == before.fleets:
            stretches.append((before.fleets, until, at))
        elif (changed_at := _change_time(before, observed)) and until < changed_at <= at:
            stretches.append((before.fleets, until, changed_at))
            stretches.append((observed.fleets, changed_at, at))
        else:
            stretches.append((_larger(before.fleets, observed.fleets), until, at))
    requested_at = clock.instant(before.planned_at) if before.planned_at else None
    if (
        observed is not None
        and requested_at
        and before.fleets
        and not another
        and _is_over(observed, requested_at)
    ):
        # An unobserved update: until it was over, its instances were billed in addition to the old ones.
        stretches.append((before.planned, requested_at, min(observed.changed_at or at, at)))
    if observed is not None and (another or not before.fleets):
        stretches.append((observed.fleets, max(observed.made_at, until or observed.made_at), at))
    return stretches


def _change_time(before: Meter, observed: ObservedInstances) -> datetime | None:
    """Return when the number of instances changed; None if the last change of the status does not tell."""
    if observed.busy:
        # A requested update has run since its request, whatever has changed its status since then.
        return None if before.planned else observed.changed_at
    known = {name: before.fleets.get(name, 0) + before.planned.get(name, 0) for name in observed.fleets}
    if any(count > known[name] for name, count in observed.fleets.items()):
        # Added instances are billed while they start, but the status changed last when they answered.
        return None
    return observed.changed_at


def _never_observed(
    before: Meter, at: datetime, gone_at: datetime | None
) -> list[tuple[Mapping[str, int], datetime, datetime]]:
    """Return the instances of an accepted request if they are gone before anybody observed them."""
    if not before.accepted or before.planned_at is None:
        return []
    return [(before.planned, clock.instant(before.planned_at), min(at, gone_at or at))]


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in [*one, *other]}


def _spent(fleets: Mapping[str, int], start: datetime, stop: datetime) -> list[Move]:
    """Return what instances cost between two times, as one move for each day (UTC) and instance type."""
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
    return {instance: price for (_, instance), price in prices.usd_per_hour_of_all(named).items()}


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
