"""A month's time, which only the test lets pass, and what may happen to functions in it."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from botocore.exceptions import ClientError

_CALL_SECONDS = 0.05
"""What a call of an AWS API takes."""


class MonthClock:
    """The time that is in the clock's file. Nobody but the test lets it pass."""

    def __init__(self, file: Path, start: datetime) -> None:
        """Set it."""
        self._file, self._seconds = file, start.timestamp()
        self._lock = threading.Lock()
        self.pass_by(0)

    def now(self) -> datetime:
        """Return what `shared.clock.now` is to return."""
        return datetime.fromtimestamp(self._seconds, UTC)

    def pass_by(self, seconds: float) -> None:
        """Let time pass. The file is replaced in one step, as the cloud may be reading it."""
        with self._lock:
            self._seconds += seconds
            fresh = self._file.with_suffix(".new")
            fresh.write_text(repr(self._seconds))
            fresh.replace(self._file)


class Crashed(Exception):  # noqa: N818 - what happens to a function, not an error of its own
    """The function has died."""


@dataclass(frozen=True)
class Trouble:
    """What happens to a function at one of its calls of AWS."""

    at_call: int
    kind: Literal["dies before", "dies after", "is refused"]


class Interruptions:
    """Counts a function's calls of AWS, and lets one go wrong. A function that died calls no more."""

    def __init__(self, clock: MonthClock) -> None:
        """Have no trouble planned."""
        self._clock = clock
        self.plan(None)

    def plan(self, trouble: Trouble | None) -> None:
        """Have the next function's calls go wrong so; None is no trouble."""
        self._trouble, self._calls, self._dead = trouble, 0, False

    @property
    def died(self) -> bool:
        """Whether the function has died."""
        return self._dead

    def call(self, operation: str, really: Any, *names: Any, **fields: Any) -> Any:
        """Call AWS, unless the function is dead."""
        if self._dead:
            raise Crashed(operation)
        self._clock.pass_by(_CALL_SECONDS)
        due = self._trouble is not None and self._calls == self._trouble.at_call
        self._calls += 1
        kind = self._trouble.kind if due and self._trouble else None
        if kind == "is refused":
            error = {"Code": "InternalFailure", "Message": "The request processing has failed."}
            raise ClientError({"Error": error}, operation)  # type: ignore[typeddict-item]
        self._dead = kind in {"dies before", "dies after"}
        if kind == "dies before":
            raise Crashed(operation)
        answer = really(*names, **fields)
        if kind == "dies after":
            raise Crashed(operation)
        return answer


class Interrupted:
    """A boto3 client whose calls may go wrong."""

    def __init__(self, client: Any, interruptions: Interruptions) -> None:
        """Stand between a client and its callers."""
        self._client, self._interruptions = client, interruptions

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found) or name == "exceptions":
            return found
        return lambda *names, **fields: self._interruptions.call(name, found, *names, **fields)
