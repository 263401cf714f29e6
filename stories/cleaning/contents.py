"""Remove tables of contents: lists, before the story, of the headings in it."""

import bisect
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from stories.records import Edit

_TITLE = re.compile(
    r"^\W*(?:(?:table of )?contents|inhalt(?:sverzeichnis)?|table des mati[eè]res|sommaire|[ií]ndice|"
    r"contenido|indice|sommario|inhoud|оглавление|содержание|目次|目录)\W*$",
    re.I,
)
_NUMBERED = re.compile(r"^\s*(\S.{0,90}?)(?:(?:\s*[.…·_]){3,}\s*|\s{2,}|\t\s*)(\d{1,4})\s*$")
_CHAPTER = re.compile(
    r"(?:(?:chapter|part|book|volume|letter|kapitel|teil|chapitre|cap[ií]tulo|capitolo|глава)\s*)?"
    r"(?:\d{1,3}|[ivxlc]{1,7})",
    re.I,
)
_WORD = re.compile(r"\w+")
_GOES_ON = (",", ";")
_LONGEST_ENTRY = 100
_LONGEST_LABEL_WORDS = 2
_SHORTEST_LINE_OF_PROSE = 40
_LINES_FROM_HEADING_TO_PROSE = 3
_MAX_LINES = 2000
_MIN_UNDER_A_TITLE = 2
_MIN_ALONE = 4
_SHARE_UNDER_A_TITLE = 0.5
_SHARE_ALONE = 0.7
_SHORTEST_CHAPTER = 200


@dataclass(frozen=True)
class _Lines:
    """The lines of a text that are not empty."""

    lines: list[str]
    starts: list[int]
    """The position of each line in the text, in characters."""
    headings: dict[str, list[int]]
    """Numbers of lines that stand alone and are soon followed by prose, by their normalized form."""

    def heading_after(self, number: int, form: str) -> int | None:
        """Return the first heading of a form after a line, or None."""
        places = self.headings.get(form, [])
        place = bisect.bisect_right(places, number)
        return places[place] if place < len(places) else None


def drop_contents(text: str) -> Edit:
    """Remove the tables of contents before a story, with their titles.

    One pass finds tables under a title and another those without. Starting again after each table would take
    hours on a file of nothing but tables.
    """
    dropped: list[str] = []
    for find in (_titled_tables, _untitled_tables):
        kept: list[str] = []
        end_of_last = 0
        for begin, end in find(_read(text), len(text)):
            kept.append(text[end_of_last:begin])
            dropped.append(text[begin:end])
            end_of_last = end
        text = "".join((*kept, text[end_of_last:]))
    return Edit(text, len(dropped), dropped[0].strip(), "") if dropped else Edit(text)


def _titled_tables(read: _Lines, length: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end, in characters, of each table with a title above it."""
    front = _Front(read, length)
    number = 0
    while front.contains(number):
        if _TITLE.match(read.lines[number]):
            entries = _entries(read, number + 1, titled=True)
            if len(entries) >= _MIN_UNDER_A_TITLE and _are_dense(entries, number, _SHARE_UNDER_A_TITLE):
                yield front.remove(number, entries[-1])
                number = entries[-1]
        number += 1


def _untitled_tables(read: _Lines, length: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end, in characters, of each table without a title."""
    front = _Front(read, length)
    number = 0
    while front.contains(number):
        entries = _entries(read, number, titled=False)
        if len(entries) >= _MIN_ALONE and _is_list(read, entries):
            yield front.remove(number, entries[-1])
        number = entries[-1] + 1 if entries else number + 1


@dataclass
class _Front:
    """The lines that may belong to a table: the first half of the remaining text, up to a limit."""

    read: _Lines
    length: int
    """Length of the remaining text, in characters."""
    dropped_lines: int = 0
    dropped_characters: int = 0

    def contains(self, number: int) -> bool:
        """Return whether a line may belong to a table."""
        return (
            number < len(self.read.lines)
            and number - self.dropped_lines < _MAX_LINES
            and self.read.starts[number] - self.dropped_characters <= self.length // 2
        )

    def remove(self, first: int, last: int) -> tuple[int, int]:
        """Remove a range of lines and return its begin and end, in characters."""
        begin, end = self.read.starts[first], self.read.starts[last] + len(self.read.lines[last])
        self.dropped_lines += last + 1 - first
        self.dropped_characters += end - begin
        self.length -= end - begin
        return begin, end


def _read(text: str) -> _Lines:
    lines: list[str] = []
    starts: list[int] = []
    gaps: list[bool] = []
    start, gap = 0, True
    for line in text.split("\n"):
        if line and not line.isspace():
            lines.append(line)
            starts.append(start)
            gaps.append(gap)
            gap = False
        else:
            gap = True
        start += len(line) + 1
    return _Lines(lines, starts, _headings(lines, [*gaps, True, True]))


def _headings(lines: list[str], gap_before: list[bool]) -> dict[str, list[int]]:
    """Find lines, alone or in pairs, that prose follows; `gap_before` has two items more than `lines`."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        if len(line) > _LONGEST_ENTRY:
            continue
        begins, ends = gap_before[number], gap_before[number + 1]
        alone = (begins and (ends or gap_before[number + 2])) or (ends and gap_before[number - 1])
        following = lines[number + 1 : number + 1 + _LINES_FROM_HEADING_TO_PROSE]
        if alone and any(len(after) >= _SHORTEST_LINE_OF_PROSE for after in following):
            found[_form(line)].append(number)
    return found


def _form(line: str) -> str:
    numbered = _NUMBERED.match(line)
    return " ".join(_WORD.findall(numbered[1] if numbered else line)).casefold()


def _entries(read: _Lines, begin: int, *, titled: bool) -> list[int]:
    """Return the lines, from a given one on, that are entries of a table; the story ends the search."""
    entries: list[int] = []
    end = len(read.lines)
    first = ""
    for number in range(begin, len(read.lines)):
        line = read.lines[number]
        is_story = number >= end or (len(entries) > 1 and _form(line) == first)
        if is_story or len(line) > _LONGEST_ENTRY or (not entries and number > begin):
            break
        if _is_entry(read, number, titled=titled):
            if not entries:
                first = _form(line)
                end = read.heading_after(number, first) or end
            entries.append(number)
        # An entry too long for its line takes two lines, the first of which does not look like an entry.
        elif entries and number - entries[-1] > 1:
            break
    return entries


def _is_entry(read: _Lines, number: int, *, titled: bool) -> bool:
    line = read.lines[number]
    return bool(
        _NUMBERED.match(line) or _recurrence(read, number) or (titled and _CHAPTER.match(line.strip()))
    )


def _recurrence(read: _Lines, number: int) -> int | None:
    """Return the line on which an entry recurs as a heading, whole or with its number on a separate line."""
    form = _form(read.lines[number])
    whole = read.heading_after(number, form)
    words = form.split()
    if whole is not None:
        return whole
    for cut in range(1, min(len(words), _LONGEST_LABEL_WORDS + 1)):
        label, rest = " ".join(words[:cut]), " ".join(words[cut:])
        if _CHAPTER.fullmatch(label) and (place := read.heading_after(number, rest)) is not None:
            return place
    return None


def _are_dense(entries: list[int], begin: int, share: float) -> bool:
    return len(entries) >= (entries[-1] - begin) * share


def _is_list(read: _Lines, entries: list[int]) -> bool:
    """Return whether entries without a title are a table: page numbers increase, or chapters are far
    apart."""
    if not _are_dense(entries, entries[0] - 1, _SHARE_ALONE):
        return False
    numbers = [int(found[2]) for entry in entries if (found := _NUMBERED.match(read.lines[entry]))]
    if len(numbers) >= len(entries) * _SHARE_ALONE:
        return numbers == sorted(numbers) and numbers[0] < numbers[-1]
    places = [place for entry in entries if (place := _recurrence(read, entry)) is not None]
    # Verse that a story explains line by line recurs as well, but its lines end with a comma or semicolon.
    if any(read.lines[entry].rstrip().endswith(_GOES_ON) for entry in entries):
        return False
    distinct = {_form(read.lines[entry]) for entry in entries}
    if len(places) < len(entries) * _SHARE_ALONE or len(distinct) < len(entries) * _SHARE_ALONE:
        return False
    return read.starts[max(places)] - read.starts[min(places)] >= _SHORTEST_CHAPTER * (len(entries) - 1)
