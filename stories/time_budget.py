"""Ends a dataset that takes longer than there is time for, as soon as that can be told."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")

_MEASURED_SECONDS = 60.0
"""A rate that was measured for less than this is no forecast."""
_CERTAIN = 2.0
"""A forecast counts if it needs this many times what is left: what comes later may be quicker."""
_TOO_LONG = "Putting the dataset together takes too long"
_CURE = (
    "Your stories are untouched, and nothing was spent on a GPU. What takes longest are many copies of one "
    "text that differ a little: `storyloom check` on your folder has no limit of time and lists them. Delete "
    "all but one of each, or take part of the stories out, and begin again: storyloom start"
)


class OutOfTimeError(Exception):
    """The dataset takes longer than there is time for; the text says how far it came, and what helps."""


class TimeBudget:
    """Keeps count of the time for one dataset."""

    def __init__(self, seconds: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now.

        Args:
            seconds: how long there is.
            clock: tells the time, in seconds.
        """
        self._clock = clock
        self._began = clock()
        self._seconds = seconds

    def through(self, items: Iterable[_T], what: str, of: int | None = None) -> Iterator[_T]:
        """Yield items as long as there is time for them.

        Args:
            items: stories.
            what: becomes of them, after their number: `stories were taken in`.
            of: how many there are, if they take about equally long; then the end is foreseen.

        Raises:
            OutOfTimeError: the time is over, or will be before the last of them.
        """
        began = self._clock()
        for done, item in enumerate(items):
            now = self._clock()
            spent, left = now - began, self._began + self._seconds - now
            needed = spent / done * (of - done) if of and done and spent >= _MEASURED_SECONDS else 0.0
            if needed > _CERTAIN * max(0.0, left):
                number = f"{done:,} of {of:,} {what}, {_a_minute(done, spent)}"
                why = f"The others need about {_minutes(needed)} more, and {_minutes(left)} are left."
                raise OutOfTimeError(f"{_TOO_LONG}: {number}. {why} {_CURE}")
            if left <= 0:
                number = f"{done:,} {what}, {_a_minute(done, spent)}"
                why = f"There is no time left of {_minutes(self._seconds)}."
                raise OutOfTimeError(f"{_TOO_LONG}: {number}. {why} {_CURE}")
            yield item


def _a_minute(done: int, seconds: float) -> str:
    return f"{60 * done / seconds:,.0f} a minute" if seconds else "none yet"


def _minutes(seconds: float) -> str:
    number = math.ceil(seconds / 60)
    return "1 minute" if number == 1 else f"{number:,} minutes"
