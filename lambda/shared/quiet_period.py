"""The quiet period: a run waits until no story has arrived for a while, and never longer than it may.

Each new story moves the timer, so that many files dropped over minutes make one run. The table holds when the
first of them came: however steadily others follow, the timer is not moved beyond `max_quiet_seconds` after
that.
"""

from datetime import timedelta

from boto3.dynamodb.conditions import Attr, ConditionBase

from shared import clock, environment, table, timer

_KEY = ("TIMER", "QUIET")
_LATE = timedelta(minutes=15)
"""A period whose timer should have fired longer ago than this is over: its schedule is gone."""


def restart(reason: str) -> str:
    """Move the timer, within the longest period; returns when it will fire, as text."""
    schedule = environment.read(environment.Schedule)
    now, seen = clock.now(), table.get(*_KEY)
    since, set_for = now, None
    if seen is not None and now - clock.instant(seen["due"]) < _LATE:
        since, set_for = clock.instant(seen["since"]), clock.instant(seen["due"])
    longest = max(schedule.max_quiet_seconds, schedule.quiet_seconds)
    deadline = since + timedelta(seconds=longest)
    if set_for is not None and set_for >= deadline:
        # Nothing moves it any more, also while it is late: EventBridge fires within a minute, not a second.
        return clock.text(set_for)
    due = timer.set_quiet(min(now + timedelta(seconds=schedule.quiet_seconds), deadline), reason)
    # Of two stories at once the first to come here counts; the other's timer differs by their distance.
    table.update(*_KEY, {"since": clock.text(since), "due": clock.text(due)}, only_if=_unchanged(seen))
    return clock.text(due)


def end(due: str) -> None:
    """Record that the timer has fired: the next story begins a new period."""
    table.delete(*_KEY, only_if=Attr("due").lte(due))


def _unchanged(seen: table.Item | None) -> ConditionBase:
    return Attr("pk").not_exists() if seen is None else Attr("due").eq(seen["due"])
