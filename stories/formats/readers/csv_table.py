"""Read tables: one story a row, with column names in the first row."""

import csv
from collections.abc import Iterator
from typing import IO, TextIO

from stories.formats.encoding import open_text
from stories.formats.rows import (
    LONGEST_ROW,
    PROSE_FIELDS,
    USED_FIELDS,
    TableRow,
    check_columns,
    normalize_column,
    stories_from_rows,
)
from stories.records import RawStory, UnreadableError, UnusablePart

SUFFIXES = (".csv", ".tsv", ".tab")

_DELIMITERS = (",", ";", "\t", "|")
# Limit of characters read again after damaged rows: a fixed number plus a multiple of the characters read so
# far.
_MAX_READ_AGAIN = 4 * 1024**2
_TIMES_READ_AGAIN = 8
_QUOTES = UnreadableError(
    "Its quotation marks do not match, or it is longer than 10 MB.",
    'Put each text in quotation marks ("…"), and write a quotation mark inside it twice ("").',
)
# The csv module's own limit is 128 KB, less than a long story.
csv.field_size_limit(LONGEST_ROW)


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield a story for each row; a cell may contain many lines."""
    del name
    text = open_text(stream)
    try:
        yield from stories_from_rows(_Table(text).rows())
    finally:
        text.detach()


class _Lines:
    """A table's lines, which can be read again from the second line of a damaged row."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._taken: list[str] = []
        self._waiting: list[str] = []
        self._may_read_again = _MAX_READ_AGAIN
        self.line = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._waiting.pop() if self._waiting else self._read()
        if not line:
            raise StopIteration
        self.line += 1
        self._taken.append(line)
        return line

    def begin_row(self) -> None:
        """Mark the current line as the first of a row."""
        self._taken = []

    @property
    def row_characters(self) -> int:
        """Number of characters since the row began."""
        return sum(map(len, self._taken))

    def back_to(self, line: int) -> bool:
        """Go back to a line of the current row; return False if that has happened too often."""
        again = self._taken[line:]
        self._may_read_again -= sum(map(len, again))
        if self._may_read_again < 0:
            return False
        self._waiting += reversed(again)
        self._taken = self._taken[:line]
        self.line -= len(again)
        return True

    def _read(self) -> str:
        line = self._text.readline(LONGEST_ROW)
        self._may_read_again += _TIMES_READ_AGAIN * len(line)
        end = line
        while len(end) == LONGEST_ROW and not end.endswith(("\n", "\r")):
            end = self._text.readline(LONGEST_ROW)
        if len(line) == LONGEST_ROW:
            self._taken.append(line)
            self.line += 1
            raise _QUOTES
        return line.replace("\0", "")


class _Table:
    """The rows of one table."""

    def __init__(self, text: TextIO) -> None:
        self._lines = _Lines(text)
        first = next(self._lines, "")
        # Excel may write the delimiter in a line before the header.
        is_named = first.casefold().startswith("sep=") and len(first.strip()) == len("sep=;")
        if not is_named:
            self._lines.back_to(0)
        self._delimiter = first[4] if is_named else _delimiter(first)
        self._cells = csv.reader(
            self._lines,
            delimiter=self._delimiter,
            strict=True,
            skipinitialspace=f"{self._delimiter} " in first,
        )
        self._header = self._read_header()
        # Positions of the used columns only, because a table may have more columns than rows.
        self._used = {name: place for place, name in enumerate(self._header) if name in USED_FIELDS}

    def rows(self) -> Iterator[TableRow]:
        """Yield the rows below the header; after a damaged row the next ones are still read."""
        lines = self._lines
        while True:
            lines.begin_row()
            first = lines.line + 1
            try:
                cells = next(self._cells, None)
            except UnreadableError as error:
                yield TableRow(f"line {first}", error, lines.row_characters)
                continue
            except csv.Error:
                goes_on = lines.back_to(1)
                place = f"line {first}" if goes_on else f"from line {first} on"
                yield TableRow(place, _QUOTES, lines.row_characters)
                if goes_on:
                    continue
                return
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield TableRow(f"line {first}", self._fields(cells), lines.row_characters)

    def _read_header(self) -> list[str]:
        try:
            names = next((cells for cells in self._cells if any(cell.strip() for cell in cells)), None)
        except csv.Error as error:
            raise UnreadableError(f"In its first row: {_QUOTES.reason}", _QUOTES.cure) from error
        if names is None:
            raise UnreadableError("It is empty.", "Put stories into it and drop it again.")
        check_columns(names)
        return [normalize_column(name) for name in names]

    def _fields(self, cells: list[str]) -> dict[str, object] | UnreadableError:
        columns = len(self._header)
        if any(cell.strip() for cell in cells[columns:]):
            if self._header[-1] not in PROSE_FIELDS:
                return UnreadableError(
                    f"It has {len(cells)} columns, but the first row has {columns}.", _QUOTES.cure
                )
            # The last column is unquoted text that contains the delimiter: joining the cells restores it.
            cells = [*cells[: columns - 1], self._delimiter.join(cells[columns - 1 :])]
        return {name: cells[place] if place < len(cells) else "" for name, place in self._used.items()}


def _delimiter(first: str) -> str:
    """Return the delimiter that gives the first row the most known columns."""

    def known(delimiter: str) -> tuple[bool, int]:
        names = next(csv.reader([first], delimiter=delimiter), [])
        try:
            check_columns(names)
        except UnreadableError:
            return False, len(names)
        return True, len(names)

    return max(_DELIMITERS, key=known)
