"""Remove page numbers, running heads and feet, and join the paragraphs that a page break divides.

Pages end with a form feed, as the readers of paged formats and PDF-to-text programs write it. If a text has
no form feeds but page numbers in mid-sentence, form feeds are added here.
"""

# ruff: noqa: RUF001 - the full-width punctuation ends sentences in Chinese and Japanese

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

from stories.numerals import parse_page_number
from stories.records import Edit

PAGE_END = "\f"

_NUMERAL = r"(?:\d{1,4}|[ivxlc]{1,8})"
_NUMBER_LINE = re.compile(
    rf"^[\W_]*(?:(?:page|pg|p|seite|s|página|pagina|pág)\b\.?\s*)?({_NUMERAL})"
    r"(?:\s*(?:of|/|von|de|sur|di|из)\s*\d{1,4})?[\W_]*$",
    re.I,
)
_HEAD_WITH_NUMBER = re.compile(r"^\s*(?:(\d{1,4})\W+(\D{2,60})|(\D{2,60}?)\W+(\d{1,4}))\s*$")
# Matches from the first of several spaces only; otherwise each of them would start a new search.
_INLINE = re.compile(
    r"(?<![ \t])[ \t]*[\[{](?:pg|page|p\.)[ \t]?[\divxlc]{1,8}[\]}](?:[ \t]*\n(?=\S))?", re.I
)
_SENTENCE_END = re.compile(r"[.!?…:。！？][\s\"'”’»›)\]*_]*$")
_MIN_INLINE = 3
_MIN_PAGES_NUMBERED = 3
_MIN_FLAT_NUMBERS = 5
_LARGEST_STEP = 3
_INTERRUPTED_SHARE = 0.25
_SHORTEST_LINE_OF_PROSE = 30
_LONGEST_HEADING = 60

_NUMBERED = re.compile(r"^\W*(?:(\d{1,4})\b\W*)?(.*?)(?:\W*\b(\d{1,4}))?(?:\s*(?:of|/)\s*\d{1,4})?\W*$", re.S)
_LETTERS = re.compile(r"[\W_]+")
_CHAPTER_WORD = re.compile(
    r"^(?:chapter|chap|part|book|volume|letter|scene|act|canto|section|kapitel|teil|chapitre|partie|"
    r"cap[ií]tulo|parte|capitolo|глава|часть)$"
)
_LONGEST_HEAD = 100
_LINES_AT_AN_EDGE = 2
_MIN_PAGES = 3
_NEAREST_PAGES = 2
_ALIKE = 0.85
_MAX_KNOWN_HEADS = 8
_LONGEST_TITLE_PAGE = 400
_WHOLE_BOOK_SHARE = 0.3


def drop_page_numbers(text: str) -> Edit:
    """Remove page numbers: at the edges of pages, in brackets, and on a line of their own in mid-sentence."""
    places = 0
    markers = _INLINE.findall(text) if "[" in text or "{" in text else []
    if len(markers) >= _MIN_INLINE:
        text, places = _INLINE.subn("", text)
    if PAGE_END not in text:
        text, found = _break_at_numbers(text)
        return Edit(text, places + found)
    pages = [page.split("\n") for page in text.split(PAGE_END)]
    numbered = _numbered_lines(pages)
    for page, line in numbered:
        pages[page][line] = ""
    text = PAGE_END.join("\n".join(page) for page in pages)
    return Edit(text, places + len(numbered))


def join_pages(text: str) -> Edit:
    """Join pages: a paragraph that a page break divides continues; anything else begins a new one."""
    if PAGE_END not in text:
        return Edit(text)
    pages = [page.strip("\n") for page in text.split(PAGE_END)]
    joined = [next((page for page in pages), "")]
    for page in (page for page in pages[1:] if page.strip()):
        joined.extend((_page_join(joined[-1], page), page))
    return Edit("".join(joined), len(pages) - 1)


def continues_sentence(before: str, after: str) -> bool:
    """Return whether a line continues the sentence of the last line on the page before."""
    first = next((character for character in after if character.isalnum()), "")
    if not before.strip() or not first:
        return False
    if first.islower():
        return True
    if _SENTENCE_END.search(before) or _is_heading(after):
        return False
    return len(before) >= _SHORTEST_LINE_OF_PROSE


def _page_join(before: str, after: str) -> str:
    last = before.rpartition("\n")[2]
    if not continues_sentence(last, _first_block(after)):
        return "\n\n"
    # A space marks that the line continues, whatever its length; short lines are left to `unwrap`.
    is_prose = len(last) >= _SHORTEST_LINE_OF_PROSE and not last.endswith(" ")
    return " \n" if is_prose else "\n"


def _first_block(page: str) -> str:
    return page.lstrip("\n").partition("\n\n")[0]


def _is_heading(block: str) -> bool:
    return "\n" not in block and len(block) <= _LONGEST_HEADING and not _SENTENCE_END.search(block)


def _numbered_lines(pages: list[list[str]]) -> list[tuple[int, int]]:
    """Return page and line of each number that increases with the pages."""
    found = [
        (number - index, index, line)
        for index, page in enumerate(pages)
        for line in _edges(page)
        if (number := _number(page[line])) is not None
    ]
    votes = Counter(offset for offset, _, _ in found)
    filled = sum(any(line.strip() for line in page) for page in pages)
    # A single page has no other number to compare with: it counts as page 1.
    return [
        (index, line)
        for offset, index, line in found
        if votes[offset] >= min(_MIN_PAGES_NUMBERED, filled) and (filled > 1 or offset == 1)
    ]


def _edges(page: list[str]) -> list[int]:
    """Return the positions of the first two and the last two lines with text."""
    filled = [number for number, line in enumerate(page) if line.strip()]
    return sorted({*filled[:2], *filled[-2:]})


def _number(line: str) -> int | None:
    found = _NUMBER_LINE.match(line) if len(line) <= _LONGEST_HEADING else None
    return parse_page_number(found[1]) if found else None


def _break_at_numbers(text: str) -> tuple[str, int]:
    """Insert a page end at each number of a rising sequence in mid-sentence, where no chapter begins."""
    if text.count("\n") < _MIN_FLAT_NUMBERS:
        return text, 0
    lines = text.split("\n")
    chain = _longest_count(_candidates(lines))
    interrupted = sum(_interrupts(lines, line) for line in chain)
    if len(chain) < _MIN_FLAT_NUMBERS or interrupted < len(chain) * _INTERRUPTED_SHARE:
        return text, 0
    for line in chain:
        # A number on its own is removed here; one beside a running head is removed with the head.
        lines[line] = PAGE_END if _number(lines[line]) is not None else PAGE_END + lines[line]
    return "\n".join(lines), len(chain)


def _candidates(lines: list[str]) -> list[tuple[int, int]]:
    """Return line and value of every line that may be a page number, with or without a running head."""
    found: list[tuple[int, int]] = []
    heads: list[tuple[int, int, str]] = []
    for index, line in enumerate(lines):
        if not line or len(line) > _LONGEST_HEADING + _LARGEST_STEP:
            continue
        number = _number(line)
        if number is not None:
            found.append((index, number))
        elif with_head := _HEAD_WITH_NUMBER.match(line):
            head = (with_head[2] or with_head[3]).strip().casefold()
            heads.append((index, int(with_head[1] or with_head[4]), head))
    often = Counter(head for _, _, head in heads)
    found += [(index, number) for index, number, head in heads if often[head] >= _MIN_PAGES_NUMBERED]
    return sorted(found)


def _longest_count(candidates: list[tuple[int, int]]) -> list[int]:
    """Return the lines of the longest rising sequence of numbers, with small gaps allowed."""
    best: dict[int, tuple[int, int]] = {}
    before: dict[int, int | None] = {}
    for line, number in candidates:
        steps = [best[earlier] for step in range(1, _LARGEST_STEP + 1) if (earlier := number - step) in best]
        length, previous = max(steps, default=(0, -1))
        before[line] = previous if length else None
        if (length + 1, line) > best.get(number, (0, 0)):
            best[number] = (length + 1, line)
    chain: list[int] = []
    line_or_none = max(best.values(), default=(0, None))[1]
    while line_or_none is not None:
        chain.append(line_or_none)
        line_or_none = before[line_or_none]
    return chain[::-1]


def _interrupts(lines: list[str], line: int) -> bool:
    around = [text for text in lines[line + 1 : line + 8] if text.strip()][:2]
    return any(next((c for c in text if c.isalnum()), "").islower() for text in around)


class _Line(NamedTuple):
    page: int
    line: int
    form: str
    """Its letters only, so that case, spacing and decoration do not matter."""
    number: int | None
    """A number at its beginning or end."""
    at_top: bool


def drop_running_heads(text: str) -> Edit:
    """Remove the lines at the top and bottom of pages that only name the book or chapter."""
    if text.count(PAGE_END) < _MIN_PAGES - 1:
        return Edit(text)
    pages = [page.split("\n") for page in text.split(PAGE_END)]
    heads = _heads(pages)
    if not heads:
        return Edit(text)
    sample = pages[heads[0].page][heads[0].line]
    for head in heads:
        pages[head.page][head.line] = ""
    return Edit(PAGE_END.join("\n".join(page) for page in pages), len(heads), sample, "")


def _heads(pages: list[list[str]]) -> list[_Line]:
    lines = [line for number, page in enumerate(pages) for line in _edge_lines(number, page)]
    found: set[_Line] = set()
    for at_top in (True, False):
        side = [line for line in lines if line.at_top == at_top]
        groups = [group for group in _groups(side) if _is_running(group)]
        for group in groups:
            found.update(_without_the_title(group, pages))
        found.update(_damaged(side, groups))
    return sorted(found)


def _edge_lines(number: int, page: list[str]) -> Iterator[_Line]:
    filled = [index for index, line in enumerate(page) if line.strip()]
    for edge in (filled[:_LINES_AT_AN_EDGE], filled[-_LINES_AT_AN_EDGE:]):
        for index in edge:
            if len(page[index]) <= _LONGEST_HEAD and not _is_amid_a_paragraph(page, index):
                form, value = _form(page[index])
                if form:
                    yield _Line(number, index, form, value, at_top=index in filled[:_LINES_AT_AN_EDGE])


def _is_amid_a_paragraph(page: list[str], index: int) -> bool:
    """Return whether a line, or the one before it, ends with a space and so continues (RFC 3676)."""
    continues_sentence = page[index].endswith(" ") and index + 1 < len(page) and bool(page[index + 1].strip())
    return continues_sentence or (
        index > 0 and bool(page[index - 1].strip()) and page[index - 1].endswith(" ")
    )


def _form(line: str) -> tuple[str, int | None]:
    found = _NUMBERED.match(line)
    before, middle, after = found.groups() if found else (None, line, None)
    number = before or after
    return _LETTERS.sub("", middle).casefold(), parse_page_number(number) if number else None


def _groups(lines: list[_Line]) -> Iterator[list[_Line]]:
    """Group lines with the same words that have no number, the same number, or the page's number."""
    same: defaultdict[tuple[str, str, int | None], dict[int, _Line]] = defaultdict(dict)
    # If a page has two such lines, the outer one is the head and the inner one may be a title.
    for line in sorted(lines, key=lambda line: line.line if line.at_top else -line.line):
        same[line.form, "constant", line.number].setdefault(line.page, line)
        if line.number is not None and not _CHAPTER_WORD.match(line.form):
            same[line.form, "counting", line.number - line.page].setdefault(line.page, line)
    yield from (list(same[key].values()) for key in sorted(same, key=str))


def _is_running(group: list[_Line]) -> bool:
    pages = sorted({line.page for line in group})
    near = sum(0 < after - before <= _NEAREST_PAGES for before, after in itertools.pairwise(pages))
    return len(pages) >= _MIN_PAGES and near >= len(pages) // 2


def _without_the_title(group: list[_Line], pages: list[list[str]]) -> list[_Line]:
    """Leave out a head's first appearance if it is the title itself, of the book or of a chapter."""
    first = min(group)
    if first.number is not None or not first.at_top:
        return group
    page = pages[first.page]
    short = sum(len(line) for line in page) <= _LONGEST_TITLE_PAGE
    whole_book = len({line.page for line in group}) > len(pages) * _WHOLE_BOOK_SHARE
    is_title = short if whole_book else not _is_broken_at(first, pages) and not _stands_before(first, pages)
    return [line for line in group if line != first] if is_title else group


def _is_broken_at(head: _Line, pages: list[list[str]]) -> bool:
    before = [line for page in pages[max(0, head.page - 1) : head.page] for line in page if line.strip()]
    after = [line for line in pages[head.page][head.line + 1 :] if line.strip()]
    return bool(before and after) and continues_sentence(before[-1], after[0])


def _stands_before(head: _Line, pages: list[list[str]]) -> bool:
    pages_before = pages[max(0, head.page - _NEAREST_PAGES) : head.page]
    return any(
        _form(line)[0] == head.form for page in pages_before for line in page if len(line) <= _LONGEST_HEAD
    )


def _damaged(lines: list[_Line], groups: list[list[_Line]]) -> Iterator[_Line]:
    """Yield lines that differ from a frequent head by a letter or two, as in scanned books."""
    frequent = sorted(groups, key=len, reverse=True)[:_MAX_KNOWN_HEADS]
    known = {group[0].form for group in frequent}
    for line in lines:
        if line.form in known or not any(abs(len(line.form) - len(form)) <= len(form) // 6 for form in known):
            continue
        for form in known:
            matcher = SequenceMatcher(None, line.form, form)
            if matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE:
                yield line
                break
