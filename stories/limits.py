"""Limits for reading one file: size, processor time and memory."""

import math

from stories.models import Reject, Source

LARGEST_FILE_BYTES = 200 * 1024**2
"""Fits on a function's temporary disk together with the records read from it."""
MEMORY_BYTES = 1280 * 1024**2
"""Memory beyond what the reading process has after its start."""
MAX_SECONDS = 600
"""Processor time for the largest file: less than a Lambda function may run, so that every file can be read."""

# Ordinary files take a tenth of a second, and at most five seconds a megabyte (PDF files full of text).
_SECONDS_A_FILE = 30
_SECONDS_A_MEGABYTE = 5


def max_reading_seconds(size: int) -> int:
    """Return how many seconds of processor time a file of this size in bytes may take."""
    return min(MAX_SECONDS, _SECONDS_A_FILE + math.ceil(_SECONDS_A_MEGABYTE * size / 1024**2))


def too_large(source: Source, size: int) -> Reject | None:
    """Return the reject of a file that is too large, or None if it may be read."""
    if size <= LARGEST_FILE_BYTES:
        return None
    return Reject(
        source_key=source.key,
        source_version=source.version,
        reason=f"It is larger than {LARGEST_FILE_BYTES // 1024**2} MB.",
        cure="Split it into several files and drop those.",
    )
