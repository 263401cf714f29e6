"""Plain text."""

from collections.abc import Iterator
from typing import IO

from stories.encoding import decode
from stories.readers import Draft, Flaw, read_whole

SUFFIXES = (".txt", ".text")


def read(stream: IO[bytes], name: str) -> Iterator[Draft | Flaw]:
    """Yield the one story of a text file; its title is found when it has been cleaned."""
    del name
    yield Draft(decode(read_whole(stream)))
