"""Read JSON: a list of stories, an object with such a list, or a single story or chat."""

from collections.abc import Iterator
from typing import IO

from stories.encoding import open_text
from stories.errors import UnreadableError
from stories.json_values import JsonValue, JsonValues, expect, list_items
from stories.readers import RawStory, UnusablePart
from stories.rows import LONGEST_ROW, TEXT_FIELDS, TableRow, normalize_column, stories_from_rows, object_fields, row_from_json

SUFFIXES = (".json",)

_LISTS = {"stories", "data", "items", "rows", "records", "examples", "chats", "chapters", "train"}


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
