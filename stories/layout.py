"""From where lines stand on a page to paragraphs.

A line that goes on in the next one ends with a space (RFC 3676), so that cleaning can join them; a line that
the author ended does not; paragraphs are separated by an empty line.
"""

import itertools
import re
import statistics
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

_PARAGRAPH_GAP = 1.3
"""Of the usual distance between lines."""
_INDENT = 0.7
"""Of the height of a line, as are the figures below it."""
_SIDE_BY_SIDE = 0.6
_WIDE_SPACE = 1.5
_OTHER_SIZE = 0.2
_DROP_CAP_HEIGHT = 1.6
_SLACK = 1.0
_BROKEN_WORD = re.compile(r"[^\W\d_][-\u2010]$")
_FEWEST_ROWS_OF_COLUMNS = 4
_PAGES_REMEMBERED = 10


@dataclass(frozen=True)
class Line:
    """A line of text and its box on the page, in points from the page's lower left corner."""

    text: str
    left: float
    right: float
    bottom: float
    top: float

    @property
    def height(self) -> float:
        """From the depth of a g to the height of an l."""
        return self.top - self.bottom


@dataclass
class Layout:
    """Turns the lines of a document's pages into text, one page after another."""

    _widths: deque[float] = field(default_factory=lambda: deque(maxlen=_PAGES_REMEMBERED))
    """How wide the text was on the pages before, for pages that have only short lines."""

    def page_text(self, lines: Sequence[Line]) -> str:
        """Return a page's text with its paragraphs, in reading order."""
        ordered = _with_drop_caps(_in_reading_order([line for line in lines if line.text.strip()]))
        if not ordered:
            return ""
        page = _Page(ordered)
        self._widths.append(page.width)
        width = max(self._widths)
        parts: list[str] = []
        for number, line in enumerate(ordered[:-1]):
            parts.extend((line.text.strip(), page.separator(number, width)))
        last = ordered[-1]
        is_full = last.right - page.left >= width - _WIDE_SPACE * last.height
        return "".join(parts) + last.text.strip() + (" " if is_full else "")


class _Page:
    """What is usual on a page."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        # One of the heights: a page of two lines has none in the middle.
        self._height = statistics.median_low(line.height for line in lines)
        body = [line for line in lines if abs(line.height - self._height) <= _OTHER_SIZE * self._height]
        self.left = _usual([line.left for line in body])
        self.width = max(line.right for line in body) - self.left
        gaps = [above.bottom - below.bottom for above, below in itertools.pairwise(body)]
        self._leading = _usual([gap for gap in gaps if gap > 0] or [self._height])
        self._indents = self._paragraph_indents()

    def separator(self, number: int, width: float) -> str:
        """Return what stands between a line and the next one; a line that goes on ends with a space."""
        line, following = self._lines[number], self._lines[number + 1]
        if self._begins_paragraph(line, following):
            return "\n\n"
        if self._is_full(line, following, width):
            return " \n"
        if self._is_indent(following) or self._ends_paragraph(number, width):
            return "\n\n"
        return "\n"

    def _begins_paragraph(self, line: Line, following: Line) -> bool:
        gap = line.bottom - following.bottom
        sizes = abs(line.height - following.height)
        return (
            gap > _PARAGRAPH_GAP * self._leading
            or gap < -self._height  # the next column
            or sizes > _OTHER_SIZE * self._height
            or (self._is_indent(following) and following.left - line.left > _INDENT * self._height)
        )

    def _is_full(self, line: Line, following: Line, width: float) -> bool:
        """Tell whether the next line's first word would not have fitted, or the line ends within a word."""
        if _BROKEN_WORD.search(line.text) and following.text[:1].islower():
            return True
        character = (line.right - line.left) / len(line.text)
        word = following.text.split(maxsplit=1)[0]
        used = line.right - self.left + character * (len(word) + 1)
        return used > width - _SLACK * self._height

    def _ends_paragraph(self, number: int, width: float) -> bool:
        """Tell whether a line that is not full ends prose: the one before it went on in it."""
        before = self._lines[number - 1] if number else None
        line = self._lines[number]
        return (
            before is not None
            and not self._begins_paragraph(before, line)
            and self._is_full(before, line, width)
        )

    def _is_indent(self, line: Line) -> bool:
        return any(abs(line.left - indent) <= _INDENT * self._height / 2 for indent in self._indents)

    def _paragraph_indents(self) -> list[float]:
        """Return where first lines begin: lines further right than the next one, which is at the margin."""
        close = _INDENT * self._height
        return [
            line.left
            for line, following in itertools.pairwise(self._lines)
            if line.left - self.left > close
            and abs(following.left - self.left) <= close / 2
            and line.right - self.left > self.width / 2
        ]


def _usual(values: Sequence[float]) -> float:
    """Return the most frequent value, to half a point."""
    return Counter(round(value * 2) / 2 for value in values).most_common(1)[0][0]


def _in_reading_order(lines: list[Line]) -> list[Line]:
    """Order lines from top to bottom; columns stay as the document has them."""
    by_height = sorted(lines, key=lambda line: (-line.bottom, line.left))
    rows = _rows(by_height)
    if sum(len(row) > 1 for row in rows) < _FEWEST_ROWS_OF_COLUMNS:
        return [_merged(row) for row in rows]
    first, last = rows[0], rows[-1]
    edges = [*(first if len(first) == 1 else []), *(last if len(last) == 1 else [])]
    inner = [line for line in lines if line not in edges]
    return [*edges[:1], *inner, *edges[1:]] if len(first) == 1 else [*inner, *edges]


def _rows(lines: list[Line]) -> list[list[Line]]:
    """Put lines that stand side by side together; `lines` go from top to bottom."""
    rows: list[list[Line]] = []
    for line in lines:
        if rows and all(_are_side_by_side(line, other) for other in rows[-1]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows


def _are_side_by_side(one: Line, other: Line) -> bool:
    shared = min(one.top, other.top) - max(one.bottom, other.bottom)
    apart = one.left >= other.right or other.left >= one.right
    return apart and shared > _SIDE_BY_SIDE * min(one.height, other.height)


def _merged(row: list[Line]) -> Line:
    """Make one line of pieces that stand in one row, such as a head and the page's number."""
    merged, *others = sorted(row, key=lambda line: line.left)
    for piece in others:
        space = "   " if piece.left - merged.right > _WIDE_SPACE * merged.height else " "
        merged = replace(
            merged,
            text=f"{merged.text.rstrip()}{space}{piece.text.lstrip()}",
            right=piece.right,
            bottom=min(merged.bottom, piece.bottom),
            top=max(merged.top, piece.top),
        )
    return merged


def _with_drop_caps(lines: list[Line]) -> list[Line]:
    """Put a letter that is two lines high before the line that it begins."""
    ordered: list[Line] = []
    cap: Line | None = None
    for line in lines:
        if cap is not None and line.top <= cap.top + cap.height and line.top > cap.bottom:
            ordered.append(replace(line, text=cap.text.strip() + line.text.lstrip()))
            cap = None
            continue
        if cap is not None:
            ordered.append(cap)
            cap = None
        if len(line.text.strip()) == 1 and line.text.strip().isalpha() and _is_large(line, lines):
            cap = line
        else:
            ordered.append(line)
    return [*ordered, cap] if cap is not None else ordered


def _is_large(line: Line, lines: list[Line]) -> bool:
    return line.height > _DROP_CAP_HEIGHT * statistics.median(other.height for other in lines)
