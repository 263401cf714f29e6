"""Choose the reader of a file. Each module here with `SUFFIXES` and `read` is a reader; there is no list to edit.

The content of a file decides, not its name: a `.txt` that is a Word document is read as one.

`read(stream, name)` takes a seekable binary stream and yields a `RawStory` for each story and an `UnusablePart` for
each part that cannot be used. It raises `UnreadableError` if nothing more can be read.
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
from stories.models import ChatTurn
from stories.signatures import HEAD_BYTES, sniff

LARGEST_TEXT_BYTES = 50 * 1024 * 1024
"""Size limit of a file that has to be held in memory as a whole."""

_ZIPPED = {".docx", ".docm", ".dotx", ".dotm", ".epub", ".odt", ".ott"}
_SIGNED = {*_ZIPPED, ".pdf", ".rtf", ".zip", ".doc", ".dot"}
"""Suffixes of formats that are recognised by their first bytes."""
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,9}")


@dataclass(frozen=True)
class RawStory:
    """A story as a reader found it, before cleaning."""

    text: str
    title: str | None = None
    """None if the title must come from the text or the file's name."""
    entry: str | None = None
    """Path inside an archive."""
    messages: tuple[ChatTurn, ...] | None = None
    one_of_many: bool = False
    """Whether it is one of several stories in a table, so that the file's name does not name its work."""
    is_chapter: bool = False
    """Whether it is a chapter. All chapters of a file are one work, and none is divided further."""


@dataclass(frozen=True)
class UnusablePart:
    """A part of a file that cannot be used."""

    reason: str
    cure: str
    entry: str | None = None
    characters: int = 0
    """Characters that were read and are not used; 0 if none could be read."""


class Read(Protocol):
    """The signature of a reader module's `read`."""

    def __call__(self, stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
        """Yield the stories and the unusable parts of a file."""


@cache
def readers() -> dict[str, Read]:
    """Return the readers by file suffix, in lower case with the dot."""
    found: dict[str, Read] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        if hasattr(module, "SUFFIXES"):
            found |= dict.fromkeys(module.SUFFIXES, module.read)
    return found


def find_reader(name: str, stream: IO[bytes]) -> Read:
    """Return the reader of a file, by its first bytes if they identify a format, otherwise by its name.

    Args:
        name: path of the file.
        stream: its bytes, seekable; left at the beginning.

    Raises:
        UnreadableError: the file is not a story, or there is no reader for its format.
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
        # Damaged, or another format: the reader for its suffix gives the best error.
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
    """Return the suffix of a file's name in lower case; `Mr. Smith` has none."""
    suffix = file.suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _reader_of_text(suffix: str, stream: IO[bytes]) -> Read:
    """Return the reader of plain text if a file without a text suffix is text."""
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if is_text(head):
        return readers()[".txt"]
    if suffix:
        raise UnreadableError(
            f"Its name ends in {suffix}, but it does not hold that format; it may be damaged or cut short.",
            "Open it in the program that made it, save it again and drop that.",
        )
    raise UnreadableError(
        "It holds binary data, not text, and its name has no ending such as .txt.",
        "If it is a story, save it as plain text (.txt, UTF-8).",
    )


def read_whole(stream: IO[bytes]) -> bytes:
    """Read a text file to its end.

    Raises:
        UnreadableError: it is empty or too large.
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
