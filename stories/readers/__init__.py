"""One module for each file format. A module here that has `SUFFIXES` and `read` is a reader: no list to edit.

`read(stream, name)` takes a seekable binary stream and yields a `Draft` for each story and a `Flaw` for each
part that cannot be used. It raises `UnreadableError` where nothing more can be read.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import IO, Protocol

from stories.errors import UnreadableError
from stories.models import Message

LARGEST_TEXT_BYTES = 50 * 1024 * 1024


@dataclass(frozen=True)
class Draft:
    """A story as a reader found it, not cleaned yet."""

    text: str
    title: str | None = None
    """None where only the text or the file's name can tell."""
    entry: str | None = None
    """File inside an archive."""
    messages: tuple[Message, ...] | None = None
    one_of_many: bool = False
    """Whether it is one story among others in its file, so that the file's name does not name its work."""
    is_chapter: bool = False
    """Whether it is a chapter of its file: all chapters of a file are one work, and none is cut further."""


@dataclass(frozen=True)
class Flaw:
    """A part of a file that cannot be used."""

    reason: str
    cure: str
    entry: str | None = None
    characters: int = 0
    """Of text that was read and is not used; 0 where none could be read."""


class Read(Protocol):
    """What a reader module offers."""

    def __call__(self, stream: IO[bytes], name: str) -> Iterator[Draft | Flaw]:
        """Yield what the stream holds."""


@cache
def readers() -> dict[str, Read]:
    """Return the readers by file suffix, in lower case with its dot."""
    found: dict[str, Read] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        found |= dict.fromkeys(module.SUFFIXES, module.read)
    return found


def find_reader(name: str) -> Read:
    """Return the reader of a file by its name.

    Raises:
        UnreadableError: the file is no story, or no reader knows its format.
    """
    file = PurePosixPath(name)
    if (
        file.name.startswith((".", "~$"))
        or "__MACOSX" in file.parts
        or file.name in {"Thumbs.db", "desktop.ini"}
    ):
        raise UnreadableError(
            "It is a file of the operating system, not a story.", "Nothing needs to be done."
        )
    suffix = file.suffix.lower()
    reader = readers().get(suffix)
    if reader is None:
        known = ", ".join(sorted(readers()))
        what = (
            f"Files that end in {suffix} cannot be read."
            if suffix
            else "Its name has no ending such as .txt."
        )
        raise UnreadableError(what, f"Save it in one of these formats: {known}.")
    return reader


def read_whole(stream: IO[bytes]) -> bytes:
    """Read a text file to its end.

    Raises:
        UnreadableError: it is empty, or larger than any story.
    """
    data = stream.read(LARGEST_TEXT_BYTES + 1)
    if len(data) > LARGEST_TEXT_BYTES:
        limit = LARGEST_TEXT_BYTES // 1024**2
        raise UnreadableError(
            f"It is larger than {limit} MB.", "Split it into several files, for instance by chapter."
        )
    if not data.strip(b" \t\r\n\0"):
        raise UnreadableError("It is empty.", "Put the story's text into it and drop it again.")
    return data
