"""Read JSON Lines: stories (`text`, `title`), pairs (`prompt`, `completion`) or chats (`messages`)."""

import json
from collections.abc import Iterator
from typing import IO, TextIO

from stories.formats.encoding import open_text
from stories.formats.readers import json_document
from stories.formats.rows import LONGEST_ROW, TableRow, object_fields, row_from_json, stories_from_rows
from stories.records import RawStory, UnreadableError, UnusablePart

SUFFIXES = (".jsonl", ".ndjson")

_CURE = 'Write one JSON object a line, such as {"title": …, "text": …} or {"prompt": …, "completion": …}.'
_DECODER = json.JSONDecoder(object_pairs_hook=object_fields, strict=False)
_BEGINNING_BYTES = 4096
_SPACE = " \t\r\n\ufeff\0"


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield a story for each line; after 20 unusable lines further ones are only counted."""
    if _is_one_document(stream):
        yield from json_document.read(stream, name)
        return
    text = open_text(stream)
    try:
        yield from stories_from_rows(_rows(text))
    finally:
        text.detach()


def _is_one_document(stream: IO[bytes]) -> bool:
    """Return whether the first line only opens a list or an object, as in one JSON document of many lines."""
    start = stream.tell()
    beginning = stream.read(_BEGINNING_BYTES).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    stream.seek(start)
    return beginning.split(b"\n", 1)[0].strip() in {b"[", b"{", b"[{"} or beginning.startswith(b"[{")


def _rows(text: TextIO) -> Iterator[TableRow]:
    found = False
    for number, (line, characters) in enumerate(_bounded_lines(text), start=1):
        if not line.strip(_SPACE):
            continue
        found = True
        try:
            yield row_from_json(f"line {number}", _value(line), characters)
        except UnreadableError as error:
            yield TableRow(f"line {number}", error, characters)
    if not found:
        raise UnreadableError("It is empty.", _CURE)


def _bounded_lines(text: TextIO) -> Iterator[tuple[str, int]]:
    """Yield each line and its length; a line beyond the limit is truncated."""
    while line := text.readline(LONGEST_ROW):
        characters = len(line)
        last = line
        while len(last) == LONGEST_ROW and not last.endswith("\n"):
            last = text.readline(LONGEST_ROW)
            characters += len(last)
        yield line, characters


def _value(line: str) -> object:
    if len(line) >= LONGEST_ROW:
        raise UnreadableError(
            "The line is longer than 10 MB.", "Give each story its own line, and split books."
        )
    try:
        value: object = _DECODER.decode(line.strip(_SPACE))
    except json.JSONDecodeError as error:
        if line.lstrip(_SPACE).startswith("{") and not line.endswith(("\n", "\r")):
            raise UnreadableError("Its JSON is incomplete: the last line is cut off.", _CURE) from error
        raise UnreadableError(f"It is not JSON from its character {error.pos + 1} on.", _CURE) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError("It is not JSON that we can read.", _CURE) from error
    return value
