"""Times in UTC, always written in the same form, so that they sort and compare as text."""

from datetime import UTC, datetime

import pydantic

Utc = str
"""An instant as `2026-09-30T18:04:05.123Z`: milliseconds, UTC, fixed width."""


def now() -> datetime:
    """Return this instant, in UTC."""
    return datetime.now(UTC)


def text(instant: datetime) -> Utc:
    """Write an instant with milliseconds and a `Z`, for instance `2026-09-30T18:04:05.123Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamp() -> Utc:
    """Return this instant as text."""
    return text(now())


def day() -> str:
    """Return today, in UTC, as `2026-09-30`."""
    return stamp()[:10]


def minute() -> str:
    """Return this minute, in UTC, as `2026-09-30T18:04`."""
    return stamp()[:16]


def instant(written: Utc) -> datetime:
    """Read an instant back from its text."""
    return pydantic.TypeAdapter(datetime).validate_python(written)


def seconds_since(written: Utc) -> float:
    """Return how many seconds ago a written instant was."""
    return (now() - instant(written)).total_seconds()
