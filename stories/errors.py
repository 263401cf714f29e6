"""The one way in which reading fails: with a reason and a cure, in a person's words."""


class UnreadableError(Exception):
    """A file, or a part of one, cannot be used. Readers raise it; a person sees it as a reject."""

    def __init__(self, reason: str, cure: str) -> None:
        """Say what is wrong, and what the person who dropped the file can do about it."""
        super().__init__(f"{reason} {cure}")
        self.reason = reason
        self.cure = cure


def unforeseen(error: Exception) -> UnreadableError:
    """Return what a person is told where a file breaks a parser in a way that nobody foresaw."""
    return UnreadableError(
        f"It could not be read ({type(error).__name__}).",
        "Save it as plain text (.txt, UTF-8) and drop it again.",
    )
