"""Read plain text."""

from collections.abc import Iterator
from typing import IO

from stories.formats.encoding import decode_in_parts
from stories.records import RawStory, UnreadableError, UnusablePart

SUFFIXES = (".txt", ".text")


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the one story of a text file; its title is found after cleaning.

    A file of more than eight million characters is yielded in parts, so that memory holds only one of them.
    """
    del name
    is_empty = True
    for part in decode_in_parts(stream):
        if part.strip():
            is_empty = False
            yield RawStory(part)
    if is_empty:
        raise UnreadableError("It is empty.", "Put the story's text into it and drop it again.")
