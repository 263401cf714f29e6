"""Find the paragraphs and columns of a page from the positions of its lines.

A line that continues in the next one ends with a space (RFC 3676), so that cleaning can join them; a line
that the author ended does not. Paragraphs are separated by an empty line.
"""

import bisect
import itertools
import re
import statistics
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

_PARAGRAPH_GAP = 1.3
"""Share of the usual distance between lines."""
_INDENT = 0.7
"""Share of a line's height, like the figures below."""
_SAME_MARGIN = 0.3
_SIDE_BY_SIDE = 0.3
_LAST_WORD = 1.5
_WIDE_SPACE = 3.0
_OTHER_SIZE = 0.2
_DROP_CAP_HEIGHT = 1.6
_MAX_DROP_CAPS = 20
_MAX_NEIGHBOURS = 64
"""How many pieces of a row a further piece is compared with."""
_SLACK = 1.0
_BROKEN_WORD = re.compile(r"[^\W\d_][-\u2010]$")
_MIN_ROWS_OF_COLUMNS = 4
_PARTED_SHARE = 0.8
_NARROWEST_COLUMN = 0.2
"""Share of the page's width."""
_PAGES_REMEMBERED = 10


@dataclass(frozen=True)
class TextLine:
    """A line of text and its box on the page, in points from the page's lower left corner."""

    text: str
    left: float
    right: float
    bottom: float
    top: float

    @property
    def height(self) -> float:
        """Height from descender to ascender."""
        return self.top - self.bottom


@dataclass
class PageLayout:
    """Converts the lines of a document's pages into text, one page after another."""

    _widths: deque[float] = field(default_factory=lambda: deque(maxlen=_PAGES_REMEMBERED))
    """Text width of the previous pages, for pages that have only short lines."""

    def page_text(self, lines: Sequence[TextLine]) -> str:
        """Return a page's text with its paragraphs, in reading order."""
        columns = _columns(_with_drop_caps([line for line in lines if line.text.strip()]))
        if len(columns) == 1 and columns[0]:
            return self._column_text(columns[0])
        parts: list[str] = []
        for column in filter(None, columns):
            # Only the words show whether a paragraph continues in the next column; the layout does not.
            following = PageLayout()._column_text(column)
            if parts:
                parts.append("\n" if parts[-1].endswith(" ") and following[:1].islower() else "\n\n")
            parts.append(following)
        return "".join(parts)

    def _column_text(self, lines: Sequence[TextLine]) -> str:
        page = _Page(lines)
        self._widths.append(page.width)
        width = max(self._widths)
        parts: list[str] = []
        for number, line in enumerate(lines[:-1]):
            parts.extend((line.text.strip(), page.separator(number, width)))
        last = lines[-1]
        is_full = last.right - page.left >= width - _LAST_WORD * last.height
        return "".join(parts) + last.text.strip() + (" " if is_full else "")


class _Page:
    """The usual margins, line height and line spacing of a page."""

    def __init__(self, lines: Sequence[TextLine]) -> None:
        self._lines = lines
        # The lower median, because the mean of two different heights would match neither line.
        self._height = statistics.median_low(line.height for line in lines)
        body = [line for line in lines if abs(line.height - self._height) <= _OTHER_SIZE * self._height]
        self.left = _usual([line.left for line in body])
        self.width = max(line.right for line in body) - self.left
        gaps = [above.bottom - below.bottom for above, below in itertools.pairwise(body)]
        self._leading = _usual([gap for gap in gaps if gap > 0] or [self._height])
        self._indents = self._paragraph_indents()

    def separator(self, number: int, width: float) -> str:
        """Return the separator after a line; a space before the line end marks a line that continues."""
        line, following = self._lines[number], self._lines[number + 1]
        if self._begins_paragraph(line, following):
            return "\n\n"
        if self._is_full(line, following, width):
            return " \n"
        if self._is_indent(following) or self._ends_paragraph(number, width):
            return "\n\n"
        return "\n"

    def _begins_paragraph(self, line: TextLine, following: TextLine) -> bool:
        gap = line.bottom - following.bottom
        sizes = abs(line.height - following.height)
        return (
            gap > _PARAGRAPH_GAP * self._leading
            or gap < -self._height  # the next column
            or sizes > _OTHER_SIZE * self._height
            or (self._is_indent(following) and following.left - line.left > _INDENT * self._height)
        )

    def _is_full(self, line: TextLine, following: TextLine, width: float) -> bool:
        """Return whether the next line's first word would not have fitted, or the line ends within a word."""
        if _BROKEN_WORD.search(line.text) and following.text[:1].islower():
            return True
        close = _SAME_MARGIN * self._height
        if min(abs(following.left - self.left), abs(following.left - line.left)) > close:
            return False  # centred
        character = (line.right - line.left) / len(line.text)
        word = following.text.split(maxsplit=1)[0]
        used = line.right - self.left + character * (len(word) + 1)
        # Lines of verse begin with capitals, so before a capital no slack is allowed.
        slack = 0 if word[:1].isupper() else _SLACK * self._height
        return used > width - slack

    def _ends_paragraph(self, number: int, width: float) -> bool:
        """Return whether a short line ends a paragraph of prose: the line before it is full."""
        before = self._lines[number - 1] if number else None
        line = self._lines[number]
        return (
            before is not None
            and not self._begins_paragraph(before, line)
            and self._is_full(before, line, width)
        )

    def _is_indent(self, line: TextLine) -> bool:
        reach = _INDENT * self._height / 2
        nearest = bisect.bisect_left(self._indents, line.left - reach)
        return nearest < len(self._indents) and self._indents[nearest] <= line.left + reach

    def _paragraph_indents(self) -> list[float]:
        """Return the left edges of indented first lines, in ascending order.

        A first line starts further right than the next line, which starts at the margin.
        """
        close = _INDENT * self._height
        return sorted(
            line.left
            for line, following in itertools.pairwise(self._lines)
            if line.left - self.left > close
            and abs(following.left - self.left) <= close / 2
            and line.right - self.left > self.width / 2
        )


def _usual(values: Sequence[float]) -> float:
    """Return the most frequent value, rounded to half a point."""
    return Counter(round(value * 2) / 2 for value in values).most_common(1)[0][0]


def _columns(lines: list[TextLine]) -> list[list[TextLine]]:
    """Split the lines into groups one column wide, in reading order."""
    rows = _rows(sorted(lines, key=lambda line: (-line.bottom, line.left)))
    gutter = _gutter(rows)
    if gutter is None:
        return [[_merged(row) for row in rows]]
    columns: list[list[TextLine]] = []
    left: list[TextLine] = []
    right: list[TextLine] = []
    for line in itertools.chain.from_iterable(rows):
        if line.left < gutter < line.right:
            # A line across both columns ends the columns above it.
            columns.extend((left, right, [line]))
            left, right = [], []
        else:
            (left if line.right <= gutter else right).append(line)
    return [column for column in (*columns, left, right) if column]


def _gutter(rows: list[list[TextLine]]) -> float | None:
    """Return the position of the space between two columns, or None if there is one column."""
    pairs = [sorted(row, key=lambda line: line.left) for row in rows if len(row) == 2]
    if len(pairs) < _MIN_ROWS_OF_COLUMNS:
        return None
    gutter = statistics.median((one.right + other.left) / 2 for one, other in pairs)
    parted = sum(one.right <= gutter <= other.left for one, other in pairs)
    narrower = statistics.median(min(one.right - one.left, other.right - other.left) for one, other in pairs)
    page = max(line.right for row in rows for line in row) - min(line.left for row in rows for line in row)
    # The page numbers of a table of contents are not a column.
    is_column = parted >= len(pairs) * _PARTED_SHARE and narrower >= page * _NARROWEST_COLUMN
    return gutter if is_column else None


def _rows(lines: list[TextLine]) -> list[list[TextLine]]:
    """Group lines that are side by side; `lines` are sorted from top to bottom."""
    rows: list[list[TextLine]] = []
    for line in lines:
        if rows and all(_are_side_by_side(line, other) for other in rows[-1][-_MAX_NEIGHBOURS:]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows


def _are_side_by_side(one: TextLine, other: TextLine) -> bool:
    shared = min(one.top, other.top) - max(one.bottom, other.bottom)
    apart = one.left >= other.right or other.left >= one.right
    return apart and shared > _SIDE_BY_SIDE * min(one.height, other.height)


def _merged(row: list[TextLine]) -> TextLine:
    """Merge the pieces of one row, such as a head and the page number, into one line."""
    first, *others = sorted(row, key=lambda line: line.left)
    if not others:
        return first
    texts = [first.text.rstrip()]
    bottom, top, right = first.bottom, first.top, first.right
    for piece in others:
        texts += ["   " if piece.left - right > _WIDE_SPACE * (top - bottom) else " ", piece.text.strip()]
        bottom, top, right = min(bottom, piece.bottom), max(top, piece.top), piece.right
    return TextLine("".join(texts), first.left, right, bottom, top)


def _with_drop_caps(lines: list[TextLine]) -> list[TextLine]:
    """Prepend a drop cap, a letter several lines high, to the line that it begins."""
    letters = [line for line in lines if line.text.isalpha() and len(line.text) == 1]
    if not letters:
        return lines
    large = _DROP_CAP_HEIGHT * statistics.median(line.height for line in lines)
    caps = [line for line in letters if line.height > large]
    # A page with many separate letters has unusual typesetting, not drop caps.
    if not 0 < len(caps) <= _MAX_DROP_CAPS:
        return lines
    others = [line for line in lines if line not in caps]
    for cap in caps:
        beside = [
            line
            for line in others
            if line.left >= cap.left and cap.bottom < (line.bottom + line.top) / 2 < cap.top + cap.height / 2
        ]
        if beside:
            first = max(beside, key=lambda line: line.top)
            others[others.index(first)] = replace(first, text=cap.text + first.text.lstrip())
        else:
            others.append(cap)
    return others
