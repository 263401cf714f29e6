"""Errors of reading a file, each with a reason and a cure for people."""

from stories.models import Reject, Source

TOO_MUCH_MEMORY = (
    "Reading it takes more memory than a file may take.",
    "Save it as plain text (.txt, UTF-8), or split it into several files.",
)


class UnreadableError(Exception):
    """A file, or a part of one, cannot be used. Readers raise it; people see it as a reject."""

    def __init__(self, reason: str, cure: str) -> None:
        """Create the error with its reason and with what the person who uploaded the file can do about it."""
        super().__init__(f"{reason} {cure}")
        self.reason = reason
        self.cure = cure


def cannot_open(source: Source, error: OSError) -> Reject:
    """Return the reject of a file that the system does not allow us to open."""
    return Reject(
        source_key=source.key,
        source_version=source.version,
        reason=f"It could not be opened: {error.strerror or 'the system gave no reason'}.",
        cure="Give yourself permission to read it, or take it out of the folder.",
    )


def unexpected_error(error: Exception) -> UnreadableError:
    """Return the error to show if a parser fails on a file unexpectedly."""
    if isinstance(error, MemoryError):
        return UnreadableError(*TOO_MUCH_MEMORY)
    return UnreadableError(
        f"It could not be read ({type(error).__name__}).",
        "Save it as plain text (.txt, UTF-8) and drop it again.",
    )
