"""Debounce uploads: start a run when no story has arrived for a while, after a maximum wait at the latest.

Each new story postpones the timer, so that many files dropped over minutes start one run. The table has the
time of the first of them: however steadily others follow, the timer fires at most `max_quiet_seconds` later.
"""

from datetime import timedelta

from boto3.dynamodb.conditions import Attr, ConditionBase

from contracts import environment, table_keys
from shared import clock
from shared.runs import timer
from shared.table import table

_KEY = table_keys.FIRST_UPLOAD
_LATE = timedelta(minutes=15)
"""If the timer should have fired longer ago than this, its schedule is gone and the period is over."""


def restart(reason: str) -> str:
    """Postpone the timer, within the maximum wait; returns the time at which it will fire."""
    schedule = environment.read(environment.Schedule)
    now, seen = clock.now(), table.get(*_KEY)
    since, set_for = now, None
    if seen is not None and now - clock.instant(seen["due"]) < _LATE:
        since, set_for = clock.instant(seen["since"]), clock.instant(seen["due"])
    longest = max(schedule.max_quiet_seconds, schedule.quiet_seconds)
    deadline = since + timedelta(seconds=longest)
    if set_for is not None and set_for >= deadline:
        # Keep the deadline even if it has just passed: EventBridge Scheduler may fire up to a minute late.
        return clock.text(set_for)
    due = timer.set_quiet(min(now + timedelta(seconds=schedule.quiet_seconds), deadline), reason)
    # If two stories arrive at once, the first write wins; the other's timer differs by milliseconds only.
    table.update(*_KEY, {"since": clock.text(since), "due": clock.text(due)}, only_if=_unchanged(seen))
    return clock.text(due)


def end(due: str) -> None:
    """End the period because the timer has fired; the next story begins a new one."""
    table.delete(*_KEY, only_if=Attr("due").lte(due))


def _unchanged(seen: table.Item | None) -> ConditionBase:
    return Attr("pk").not_exists() if seen is None else Attr("due").eq(seen["due"])
