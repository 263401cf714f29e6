"""When to ask the Hugging Face hub again, and when to give up until the next call of the function."""

import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from shared import clock

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 120.0
_TRIES = 8
"""How often in a row, with nothing received in between, within one call of the function."""


class OutOfTime(Exception):  # noqa: N818 - a signal to go on in the next call, not an error
    """This call's time is up in the middle of the work."""


class HubUnavailable(Exception):  # noqa: N818 - a signal to go on in the next call, not an error
    """The hub has refused too often in a row; the text is what it said last."""


class RetryPolicy:
    """Waits between attempts: twice as long each time, or as long as the hub asks for."""

    def __init__(self, deadline: float) -> None:
        """Retry until `deadline`, in seconds of the monotonic clock."""
        self.deadline = deadline
        self._failures = 0

    def progressed(self) -> None:
        """Reset the count of failures, because bytes came."""
        self._failures = 0

    def check_time(self, what: str) -> None:
        """Raise `OutOfTime` if the deadline is past."""
        if time.monotonic() > self.deadline:
            raise OutOfTime(what)

    def wait(self, why: str, response: httpx.Response | None = None) -> None:
        """Wait before the next attempt.

        Args:
            why: what went wrong, for the message.
            response: the hub's refusal, which may say how long to wait.

        Raises:
            HubUnavailable: if it has failed too often in a row.
            OutOfTime: if there is no time left for another attempt.
        """
        self._failures += 1
        if self._failures >= _TRIES:
            raise HubUnavailable(why)
        longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2 ** (self._failures - 1))
        seconds = asked_seconds(response) if response is not None else None
        if seconds is None:
            # Functions that were refused together do not come back together.
            seconds = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
        left = self.deadline - time.monotonic()
        # Sleep to the end of this call, too, because the next one begins at once.
        _sleep(max(0.0, min(seconds, left)))
        if seconds >= left:
            raise OutOfTime(why)


def asked_seconds(response: httpx.Response) -> float | None:
    """Return how long a refusal asks to wait: `Retry-After`, or `RateLimit`, the hub's own, or None."""
    after = response.headers.get("Retry-After", "").strip()
    if after.isdigit():
        return float(after)
    if after:
        try:
            until = parsedate_to_datetime(after)
        except ValueError:
            return None
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return max(0.0, _seconds_until(until))
    # "RateLimit": "resolvers";r=0;t=55 (nothing is left for 55 seconds)
    limits = dict(
        part.strip().partition("=")[::2] for part in response.headers.get("RateLimit", "").split(";")
    )
    return float(limits["t"]) if limits.get("t", "").isdigit() else None


def _seconds_until(moment: datetime) -> float:
    return (moment - clock.now()).total_seconds()


_sleep = time.sleep
