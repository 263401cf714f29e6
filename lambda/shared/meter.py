"""How long the endpoint has been there this month, which is what it costs.

One watermark, `counted_until`, only ever moves forward, and each move is conditional on where it stood: of
two that look at once one counts, what a crash left out is counted at the next look, and a look that is older
than the watermark counts nothing. All machines are counted that answer; where their number changed between
two looks, the larger of both counts. Those that a blue/green update starts beside them are not counted.
"""

from dataclasses import dataclass
from datetime import datetime

from boto3.dynamodb.conditions import Attr

from shared import clock, table
from shared.models import Meter

_KEY = ("HOSTING", "METER")
_TRIES = 5


@dataclass(frozen=True)
class Machine:
    """What bills."""

    instance: str
    """Its type; `unknown` where nobody knows."""
    made_at: datetime
    instances: int = 1
    """How many of them."""


def read() -> Meter:
    """Read the meter; before the first endpoint it stands at nothing."""
    return Meter.model_validate(table.get(*_KEY) or {})


def look(machine: Machine | None, at: datetime) -> None:
    """Count what was there up to an instant.

    Args:
        machine: what was seen; None where there was nothing that bills.
        at: when it was seen.
    """
    _move(machine, at, ended=False)


def end(machine: Machine | None, at: datetime) -> None:
    """Count what was there up to its end."""
    _move(machine, at, ended=True)


def seconds_this_month(meter: Meter, at: datetime) -> dict[str, float]:
    """Return seconds by instance type in the month of an instant, with what runs then."""
    return _counted(meter, None, at)


def _move(machine: Machine | None, at: datetime, *, ended: bool) -> None:
    for _ in range(_TRIES):
        before = read()
        counted_until = clock.instant(before.counted_until) if before.counted_until else None
        if machine is None and before.instance is None:
            return
        if counted_until is not None and at <= counted_until:
            if not ended:
                return
            # Its end is its end, also where another has just counted up to this instant.
            at = counted_until
        after = Meter(
            month=_month(at),
            seconds=_counted(before, machine, at),
            counted_until=clock.text(at),
            instance=machine.instance if machine and not ended else None,
            instances=machine.instances if machine and not ended else 1,
        )
        if _write(before, after):
            return


def _counted(meter: Meter, machine: Machine | None, at: datetime) -> dict[str, float]:
    """Return the month's seconds with the stretch between the watermark and an instant."""
    seconds = dict(meter.seconds) if meter.month == _month(at) else {}
    until = clock.instant(meter.counted_until) if meter.counted_until else None
    stretches: list[tuple[str, int, datetime, datetime]] = []
    another = machine is not None and (until is None or machine.made_at > until)
    if meter.instance and until:
        # One that went unseen, with another in its place, lived until then at most.
        most = meter.instances if machine is None or another else max(meter.instances, machine.instances)
        stretches.append((meter.instance, most, until, machine.made_at if machine and another else at))
    if machine and (another or not meter.instance):
        since = max(machine.made_at, until or machine.made_at)
        stretches.append((machine.instance, machine.instances, since, at))
    for instance, instances, start, stop in stretches:
        length = instances * (stop - max(start, _first_of_month(at))).total_seconds()
        if length > 0:
            seconds[instance] = round(seconds.get(instance, 0) + length, 3)
    return seconds


def _write(before: Meter, after: Meter) -> bool:
    mark = Attr("counted_until")
    unmoved = mark.eq(before.counted_until) if before.counted_until else mark.not_exists()
    return table.update(*_KEY, after.model_dump(), only_if=unmoved)


def _month(at: datetime) -> str:
    return f"{at:%Y-%m}"


def _first_of_month(at: datetime) -> datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
