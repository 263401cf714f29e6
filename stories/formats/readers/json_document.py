"""Read JSON: a list of stories, an object with such a list, or a single story or chat.

A file of any size is parsed one value at a time, so that memory holds one story and not the file.
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TypeGuard

from stories.formats.encoding import open_text
from stories.formats.rows import (
    LONGEST_ROW,
    TEXT_FIELDS,
    TableRow,
    normalize_column,
    object_fields,
    row_from_json,
    stories_from_rows,
)
from stories.records import RawStory, UnreadableError, UnusablePart

SUFFIXES = (".json",)

_LISTS = {"stories", "data", "items", "rows", "records", "examples", "chats", "chapters", "train"}

_CHUNK_CHARACTERS = 64 * 1024
_LONGEST_WORD = 16
"""In characters: `-Infinity` or `\\u0000` may be split between two reads."""
_CURE = "Check the file with a JSON validator, or save each story as a .txt file of its own."
_DECODER = json.JSONDecoder(object_pairs_hook=object_fields, strict=False)
_SPACE = re.compile(r"[ \t\r\n\ufeff\0]*")


@dataclass(frozen=True)
class JsonValue:
    """One value of a JSON file."""

    value: object
    line: int
    """Its first line, from 1."""
    characters: int


class JsonValues:
    """Parser that takes values and punctuation from a text stream one after another."""

    def __init__(self, text: io.TextIOBase) -> None:
        """Start at the current position of the stream."""
        self._text = text
        self._buffer = ""
        self._position = 0
        self._lines_before = 1
        self._counted = 0
        """Position in the buffer up to which lines are counted."""
        self._ended = False

    @property
    def line(self) -> int:
        """Current line, from 1."""
        self._lines_before += self._buffer.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._lines_before

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            self._position = _SPACE.match(self._buffer, self._position).end()  # type: ignore[union-attr]
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._fill():
                return ""

    def skip(self, character: str) -> bool:
        """Skip a character if it is the next one, and return whether it was."""
        if self.peek() != character:
            return False
        self._position += 1
        return True

    def take(self) -> JsonValue:
        """Return the next value.

        Raises:
            UnreadableError: the value is damaged, truncated or too long for a story.
        """
        self.peek()
        wanted = _CHUNK_CHARACTERS
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._position)
            except (ValueError, RecursionError) as error:
                if self._ended or not self._may_go_on(error):
                    raise self._damaged(error) from error
            else:
                # A number may continue after the buffer.
                if end < len(self._buffer) or self._ended:
                    break
            if len(self._buffer) - self._position > LONGEST_ROW:
                raise UnreadableError(
                    f"One of its texts, from line {self.line} on, is longer than 10 MB or never closed.",
                    "Give each story its own row, and split books by chapter.",
                )
            # Read twice as much each time, so that the number of attempts stays small.
            self._fill(wanted)
            wanted *= 2
        found = JsonValue(value, self.line, end - self._position)
        self._position = end
        return found

    def _may_go_on(self, error: Exception) -> TypeGuard[json.JSONDecodeError]:
        """Return whether a value may be complete once more text is read."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated") or error.pos > len(self._buffer) - _LONGEST_WORD

    def _fill(self, characters: int = _CHUNK_CHARACTERS) -> bool:
        more = self._text.read(characters)
        self._ended = not more
        self._lines_before = self.line
        self._buffer = self._buffer[self._position :] + more
        self._position = self._counted = 0
        return bool(more)

    def _damaged(self, error: Exception) -> UnreadableError:
        if self._may_go_on(error) and error.pos > self._position:
            return UnreadableError("Its JSON is incomplete: it seems to be cut off.", _CURE)
        line = self.line
        if isinstance(error, json.JSONDecodeError):
            line += self._buffer.count("\n", self._position, error.pos)
        return UnreadableError(f"It is not JSON from line {line} on.", _CURE)


def expect(values: JsonValues, character: str) -> None:
    """Skip a character that must be the next one.

    Raises:
        UnreadableError: the next character is another one.
    """
    if not values.skip(character):
        what = "cut off" if not values.peek() else f"damaged on line {values.line}"
        raise UnreadableError(f"It is not JSON: it is {what}.", _CURE)


def list_items(values: JsonValues) -> Iterator[JsonValue]:
    """Yield the items of a list that begins at the next character.

    Raises:
        UnreadableError: the list is damaged or truncated; the items before that have been yielded.
    """
    expect(values, "[")
    if values.skip("]"):
        return
    while True:
        yield values.take()
        if values.skip("]"):
            return
        expect(values, ",")
        if values.skip("]"):  # a trailing comma
            return


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield a story for each item. Stories before damage are used."""
    del name
    text = open_text(stream)
    try:
        yield from stories_from_rows(_rows(JsonValues(text)))
    finally:
        text.detach()


def _rows(values: JsonValues) -> Iterator[TableRow]:
    found = 0
    try:
        for value in _values(values):
            found += 1
            yield row_from_json(f"item {found}, line {value.line}", value.value, value.characters)
    except UnreadableError as error:
        if not found:
            raise
        yield TableRow(f"after item {found}", error, 0)
        return
    if not found:
        raise UnreadableError("It is empty.", "Put stories into it and drop it again.")


def _values(values: JsonValues) -> Iterator[JsonValue]:
    """Yield the rows of a file: the items of its list, or consecutive values as in JSON Lines."""
    while values.peek():
        if values.peek() == "[":
            yield from list_items(values)
        elif values.peek() == "{":
            yield from _object(values)
        else:
            yield values.take()
        values.skip(",")


def _object(values: JsonValues) -> Iterator[JsonValue]:
    """Yield the items of each list of stories in an object, or the object itself if it has none."""
    pairs: list[tuple[str, object]] = []
    line, characters, has_list = values.line, 0, False
    expect(values, "{")
    while not values.skip("}"):
        name = values.take()
        if not isinstance(name.value, str):
            raise UnreadableError(f"It is not JSON on line {name.line}.", "Put each name in quotation marks.")
        expect(values, ":")
        if name.value.casefold() in _LISTS and values.peek() == "[":
            has_list = True
            yield from list_items(values)
        else:
            value = values.take()
            pairs.append((name.value, value.value))
            characters += name.characters + value.characters
            if characters > LONGEST_ROW:
                raise UnreadableError(
                    "It is one story of more than 10 MB.", "Split it, for instance by chapter."
                )
        if values.peek() != "}":
            expect(values, ",")
    if not has_list or any(normalize_column(name) in TEXT_FIELDS for name, _ in pairs):
        yield JsonValue(object_fields(pairs), line, characters)
