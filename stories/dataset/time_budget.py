"""Stop building a dataset that will exceed its time limit, as early as that can be predicted."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")

_MEASURED_SECONDS = 60.0
"""A rate that was measured for less time than this predicts nothing."""
_FORECAST_FACTOR = 2.0
"""A forecast counts only if it exceeds the time left by this factor, because later items may be faster."""
_TOO_LONG = "Building the dataset takes too long"
_CURE = (
    "Your stories are untouched, and nothing was spent on a GPU. Many copies of one text that differ a "
    "little take longest: `storyloom check` on your folder has no time limit and lists them. Delete all but "
    "one copy of each, or remove some of the stories, and start again: storyloom start"
)


class TimeBudgetExceededError(Exception):
    """The dataset exceeds its time limit; the message has the progress so far and the cure."""


class DatasetTimeBudget:
    """The time limit for building one dataset."""

    def __init__(self, seconds: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the time limit now.

        Args:
            seconds: the time limit.
            clock: returns the time in seconds.
        """
        self._clock = clock
        self._began = clock()
        self._seconds = seconds

    def track(self, items: Iterable[_T], description: str, total: int | None = None) -> Iterator[_T]:
        """Yield items as long as there is time for them.

        Args:
            items: the items to process.
            description: what is done with them, as words after their number: `stories were read`.
            total: their number, if each takes about as long; then the end is predicted.

        Raises:
            TimeBudgetExceededError: the time is over, or will be before the last item.
        """
        began = self._clock()
        for done, item in enumerate(items):
            now = self._clock()
            spent, left = now - began, self._began + self._seconds - now
            needed = spent / done * (total - done) if total and done and spent >= _MEASURED_SECONDS else 0.0
            if needed > _FORECAST_FACTOR * max(0.0, left):
                number = f"{done:,} of {total:,} {description}, {_per_minute(done, spent)}"
                why = f"The others need about {_minutes(needed)} more, and {_minutes(left)} are left."
                raise TimeBudgetExceededError(f"{_TOO_LONG}: {number}. {why} {_CURE}")
            if left <= 0:
                number = f"{done:,} {description}, {_per_minute(done, spent)}"
                why = f"The time limit of {_minutes(self._seconds)} is reached."
                raise TimeBudgetExceededError(f"{_TOO_LONG}: {number}. {why} {_CURE}")
            yield item


def _per_minute(done: int, seconds: float) -> str:
    return f"{60 * done / seconds:,.0f} a minute" if seconds else "none yet"


def _minutes(seconds: float) -> str:
    number = math.ceil(seconds / 60)
    return "1 minute" if number == 1 else f"{number:,} minutes"
