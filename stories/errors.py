"""The one way in which reading fails: with a reason and a cure, in a person's words."""

from stories.models import Reject, Source

TOO_MUCH_MEMORY = (
    "Reading it takes more memory than a file may take.",
    "Save it as plain text (.txt, UTF-8), or split it into several files.",
)


class UnreadableError(Exception):
    """A file, or a part of one, cannot be used. Readers raise it; a person sees it as a reject."""

    def __init__(self, reason: str, cure: str) -> None:
        """Say what is wrong, and what the person who dropped the file can do about it."""
        super().__init__(f"{reason} {cure}")
        self.reason = reason
        self.cure = cure


def unopened(source: Source, error: OSError) -> Reject:
    """Return the reject of a file that the system does not let us open."""
    return Reject(
        source_key=source.key,
        source_version=source.version,
        reason=f"It could not be opened: {error.strerror or 'the system gave no reason'}.",
        cure="See to it that you may read it, or take it out of the folder.",
    )


def unforeseen(error: Exception) -> UnreadableError:
    """Return what a person is told if a file breaks a parser in a way that nobody foresaw."""
    if isinstance(error, MemoryError):
        return UnreadableError(*TOO_MUCH_MEMORY)
    return UnreadableError(
        f"It could not be read ({type(error).__name__}).",
        "Save it as plain text (.txt, UTF-8) and drop it again.",
    )
