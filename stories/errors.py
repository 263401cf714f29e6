"""The one way in which reading fails: with a reason and a cure, in a person's words."""


class UnreadableError(Exception):
    """A file, or a part of one, cannot be used. Readers raise it; a person sees it as a reject."""

    def __init__(self, reason: str, cure: str) -> None:
        """Say what is wrong, and what the person who dropped the file can do about it."""
        super().__init__(f"{reason} {cure}")
        self.reason = reason
        self.cure = cure
