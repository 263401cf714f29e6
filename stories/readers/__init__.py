"""One module for each file format. A module here that has `SUFFIXES` and `read` is a reader: no list to edit.

What a file holds decides, not how its name ends: a `.txt` that is a Word document is read as one.

`read(stream, name)` takes a seekable binary stream and yields a `Draft` for each story and a `Flaw` for each
part that cannot be used. It raises `UnreadableError` where nothing more can be read.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import IO, Protocol

from stories.encoding import is_text
from stories.errors import UnreadableError
from stories.models import Message
from stories.signatures import HEAD_BYTES, sniff

LARGEST_TEXT_BYTES = 50 * 1024 * 1024
"""Of a file that has to be held in memory as a whole."""

_ZIPPED = {".docx", ".docm", ".dotx", ".dotm", ".epub", ".odt", ".ott"}
_SIGNED = {*_ZIPPED, ".pdf", ".rtf", ".zip", ".doc", ".dot"}
"""Endings of formats whose files tell by their first bytes what they are."""
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,9}")


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
        if hasattr(module, "SUFFIXES"):
            found |= dict.fromkeys(module.SUFFIXES, module.read)
    return found


def find_reader(name: str, stream: IO[bytes]) -> Read:
    """Return the reader of a file: by its first bytes where they tell, else by its name.

    Args:
        name: path of the file.
        stream: its bytes, seekable; left at the beginning.

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
    suffix = _suffix(file)
    held = sniff(stream)
    if held == ".zip" and suffix in _ZIPPED and suffix in readers():
        # Damaged past telling what it holds, or another's: the reader that it was meant for says so best.
        return readers()[suffix]
    if held is not None and held in readers():
        return readers()[held]
    if suffix in _SIGNED or not suffix:
        return _reader_of_text(suffix, stream)
    if suffix not in readers():
        known = ", ".join(sorted(readers()))
        raise UnreadableError(
            f"Files that end in {suffix} cannot be read.", f"Save it in one of these formats: {known}."
        )
    return readers()[suffix]


def _suffix(file: PurePosixPath) -> str:
    """Return the ending of a file's name in lower case; what follows the dot of `Mr. Smith` is none."""
    suffix = file.suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _reader_of_text(suffix: str, stream: IO[bytes]) -> Read:
    """Return the reader of plain text for a file that is text, though its name does not say so."""
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if is_text(head):
        return readers()[".txt"]
    if suffix:
        raise UnreadableError(
            f"Its name ends in {suffix}, but that is not what it holds; it may be damaged or cut short.",
            "Open it in the program that made it, save it again and drop that.",
        )
    raise UnreadableError(
        "It holds binary data, not text, and its name has no ending such as .txt.",
        "If it is a story, save it as plain text (.txt, UTF-8).",
    )


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
