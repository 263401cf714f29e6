"""What goes wrong on the command line, said in one line with its cure."""

from __future__ import annotations


class CommandError(Exception):
    """A failure that a person can mend: printed without a traceback; the command exits with 1."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
