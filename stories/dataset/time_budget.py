"""Stop assembling a dataset that exceeds its time limit, as soon as that can be predicted."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")

_MEASURED_SECONDS = 60.0
"""Measurements shorter than this are not used for a forecast."""
_CERTAIN = 2.0
"""A forecast stops the work only if it needs this many times the remaining time, because rates vary."""
_TOO_LONG = "Putting the dataset together takes too long"
_CURE = (
    "Your stories are unchanged, and nothing was spent on a GPU. Many copies of one text with small "
    "differences take the longest: `storyloom check` on your folder has no time limit and lists them. Delete "
    "all but one of each, or take part of the stories out, and start again: storyloom start"
)


class TimeBudgetExceededError(Exception):
    """The dataset exceeds its time limit; the message gives the progress and a cure."""


class DatasetTimeBudget:
    """The time limit of one dataset."""

    def __init__(self, seconds: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock.

        Args:
            seconds: the time limit.
            clock: returns the time in seconds.
        """
        self._clock = clock
        self._began = clock()
        self._seconds = seconds

    def iterate(self, items: Iterable[_T], what: str, of: int | None = None) -> Iterator[_T]:
        """Yield items as long as there is time.

        Args:
            items: the items to process.
            what: what is done with them, for the message after their number: `stories were read`.
            of: number of items, if each takes about the same time; then the end is predicted.

        Raises:
            TimeBudgetExceededError: the time is over, or will be before the last item.
        """
        began = self._clock()
        for done, item in enumerate(items):
            now = self._clock()
            spent, left = now - began, self._began + self._seconds - now
            needed = spent / done * (of - done) if of and done and spent >= _MEASURED_SECONDS else 0.0
            if needed > _CERTAIN * max(0.0, left):
                number = f"{done:,} of {of:,} {what}, {_a_minute(done, spent)}"
                why = f"The others need about {_minutes(needed)} more, but only {_minutes(left)} remain."
                raise TimeBudgetExceededError(f"{_TOO_LONG}: {number}. {why} {_CURE}")
            if left <= 0:
                number = f"{done:,} {what}, {_a_minute(done, spent)}"
                why = f"There is no time left of {_minutes(self._seconds)}."
                raise TimeBudgetExceededError(f"{_TOO_LONG}: {number}. {why} {_CURE}")
            yield item


def _a_minute(done: int, seconds: float) -> str:
    return f"{60 * done / seconds:,.0f} a minute" if seconds else "none yet"


def _minutes(seconds: float) -> str:
    number = math.ceil(seconds / 60)
    return "1 minute" if number == 1 else f"{number:,} minutes"
