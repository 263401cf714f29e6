"""How large a file may be, wherever it is read."""

from stories.models import Reject, Source

LARGEST_FILE_BYTES = 200 * 1024**2
"""What fits a function's temporary disk beside what is read from it."""


def too_large(source: Source, size: int) -> Reject | None:
    """Return the reject of a file of that many bytes, or None where it may be read."""
    if size <= LARGEST_FILE_BYTES:
        return None
    return Reject(
        source_key=source.key,
        source_version=source.version,
        reason=f"It is larger than {LARGEST_FILE_BYTES // 1024**2} MB.",
        cure="Split it into several files and drop those.",
    )
