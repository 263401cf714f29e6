"""Streams that wait for a model that is not awake, instead of being told to come back."""

import re
import time
from typing import Annotated

from fastapi import Depends, Header

from chat_api.dependencies.errors import ApiError

LONGEST_WAIT_SECONDS = 780
"""So that two of the API's fifteen minutes are left for the answer."""
LOOK_SECONDS = 3.0
"""How often the model is looked for; each time the stream says so, long before CloudFront would end it."""

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)
_ON_ITS_WAY = {"asleep", "waking", "unavailable"}


def _seconds(
    prefer: Annotated[
        str | None,
        Header(
            description="`wait=<seconds>` (RFC 7240) has a stream wait for a model that is not awake, for "
            f"{LONGEST_WAIT_SECONDS} seconds at most; what else it says is ignored."
        ),
    ] = None,
) -> int:
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), LONGEST_WAIT_SECONDS) if found else 0


WaitSeconds = Annotated[int, Depends(_seconds)]
"""How long a stream waits for a model that is not awake; 0 if it does not ask to wait."""


class StreamRetryPolicy:
    """Decides how long a stream waits for a model that is not awake, and after which refusals."""

    def __init__(self, seconds: float) -> None:
        """Start the time limit now."""
        self._deadline = time.monotonic() + seconds
        self._waited = False

    def should_retry(self, refusal: ApiError) -> bool:
        """Return whether to ask the model again after this refusal.

        If the model could not be started, the first request after that wakes it once more; if it fails again,
        the stream stops waiting.
        """
        first, self._waited = not self._waited, True
        stage = refusal.detail.stage
        on_its_way = stage in _ON_ITS_WAY or (stage == "failing" and first)
        return on_its_way and time.monotonic() + LOOK_SECONDS < self._deadline


def progress(refusal: ApiError) -> str:
    """Say in one line how far the model is."""
    said = refusal.detail
    return f"{said.stage}: {said.message} About {said.expected_seconds} seconds."
