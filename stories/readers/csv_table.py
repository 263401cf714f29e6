"""Tables: one story a row, in columns that their first row names."""

import csv
from collections.abc import Iterable, Iterator
from typing import IO, TextIO

from stories.encoding import open_text
from stories.errors import UnreadableError
from stories.readers import Draft, Flaw
from stories.rows import LONGEST_ROW, PROSE_FIELDS, Row, check_columns, column_name, drafts

SUFFIXES = (".csv", ".tsv", ".tab")

_DELIMITERS = (",", ";", "\t", "|")
_QUOTE_CURE = 'Put each text in quotation marks ("…"), and write a quotation mark inside it twice ("").'
# The csv module's own limit is 128 KB, less than a long story.
csv.field_size_limit(LONGEST_ROW)


def read(stream: IO[bytes], name: str) -> Iterator[Draft | Flaw]:
    """Yield a story for each row; a cell may hold many lines."""
    del name
    text = open_text(stream)
    try:
        yield from drafts(_rows(_Lines(text)))
    finally:
        text.detach()


class _Lines:
    """A table's lines for the csv module, which tells when it has asked for more than there are."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._first: list[str] = []
        self.ended = False
        self.characters = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._first.pop() if self._first else self._read()
        if not line:
            self.ended = True
            raise StopIteration
        self.characters += len(line)
        return line

    def put_back(self, line: str) -> None:
        """Yield this line once more."""
        self.characters -= len(line)
        self._first.append(line)

    def _read(self) -> str:
        line = self._text.readline(LONGEST_ROW)
        if len(line) == LONGEST_ROW:
            raise _too_long()
        return line.replace("\0", "")


def _rows(lines: _Lines) -> Iterator[Row]:
    table = csv.reader(lines, delimiter=_delimiter(lines))
    header = _header(table)
    while True:
        line, before = table.line_num + 1, lines.characters
        try:
            cells = next(table, None)
        except (csv.Error, UnreadableError):
            yield Row(f"from line {line} on", _too_long(), lines.characters - before)
            return
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        characters = lines.characters - before
        if lines.ended:
            # The last row is complete before the table's end has been seen, unless a text in it never ends.
            yield Row(f"from line {line} on", _never_closed(), characters)
            return
        yield Row(f"line {line}", _fields(header, cells, table.dialect.delimiter), characters)


def _delimiter(lines: _Lines) -> str:
    """Return what stands between the columns: what makes the most columns that we know of the first row."""
    first = next(lines, "")
    # Excel may name it in a line before the header.
    if first.casefold().startswith("sep="):
        return first[4:5]
    lines.put_back(first)

    def known(delimiter: str) -> tuple[bool, int]:
        names = next(csv.reader([first], delimiter=delimiter), [])
        try:
            check_columns(names)
        except UnreadableError:
            return False, len(names)
        return True, len(names)

    return max(_DELIMITERS, key=known)


def _header(table: Iterable[list[str]]) -> list[str]:
    names = next((cells for cells in table if any(cell.strip() for cell in cells)), None)
    if names is None:
        raise UnreadableError("It is empty.", "Put stories into it and drop it again.")
    check_columns(names)
    return [column_name(name) for name in names]


def _fields(header: list[str], cells: list[str], delimiter: str) -> dict[str, object] | UnreadableError:
    too_many = len(cells) - len(header)
    if too_many > 0 and any(cell.strip() for cell in cells[len(header) :]):
        if header[-1] not in PROSE_FIELDS:
            return UnreadableError(
                f"It has {len(cells)} columns where the first row has {len(header)}.", _QUOTE_CURE
            )
        # The text stands last and has the delimiter in it, without quotation marks: it is whole again joined.
        cells = [*cells[: len(header) - 1], delimiter.join(cells[len(header) - 1 :])]
    return {name: cell for name, cell in zip(header, cells, strict=False) if name}


def _too_long() -> UnreadableError:
    return UnreadableError(
        "A text in it is longer than 10 MB, or a quotation mark that opens a text is never closed.",
        _QUOTE_CURE,
    )


def _never_closed() -> UnreadableError:
    return UnreadableError("A quotation mark that opens a text is never closed.", _QUOTE_CURE)
