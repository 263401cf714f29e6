"""What one file may take, wherever it is read: of room, of a processor's time and of memory."""

import math

from stories.models import Reject, Source

LARGEST_FILE_BYTES = 200 * 1024**2
"""What fits a function's temporary disk beside what is read from it."""
MEMORY_BYTES = 1280 * 1024**2
"""Beyond what the reading process has when it has started."""
MOST_SECONDS = 600
"""Of a processor, for the largest file: less than a function of AWS may run, so each file has its turn."""

# Ordinary files take a tenth of a second and five seconds a megabyte at most (PDF files full of text).
_SECONDS_A_FILE = 30
_SECONDS_A_MEGABYTE = 5


def longest_seconds(size: int) -> int:
    """Return how many seconds of a processor a file of that many bytes may take."""
    return min(MOST_SECONDS, _SECONDS_A_FILE + math.ceil(_SECONDS_A_MEGABYTE * size / 1024**2))


def too_large(source: Source, size: int) -> Reject | None:
    """Return the reject of a file of that many bytes, or None if it may be read."""
    if size <= LARGEST_FILE_BYTES:
        return None
    return Reject(
        source_key=source.key,
        source_version=source.version,
        reason=f"It is larger than {LARGEST_FILE_BYTES // 1024**2} MB.",
        cure="Split it into several files and drop those.",
    )
