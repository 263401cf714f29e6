"""Plain text."""

from collections.abc import Iterator
from typing import IO

from stories.encoding import decode_in_parts
from stories.errors import UnreadableError
from stories.readers import Draft, Flaw

SUFFIXES = (".txt", ".text")


def read(stream: IO[bytes], name: str) -> Iterator[Draft | Flaw]:
    """Yield the one story of a text file; its title is found when it has been cleaned.

    A file of more than eight million characters comes in several parts, so that memory holds one of them.
    """
    del name
    is_empty = True
    for part in decode_in_parts(stream):
        if part.strip():
            is_empty = False
            yield Draft(part)
    if is_empty:
        raise UnreadableError("It is empty.", "Put the story's text into it and drop it again.")
