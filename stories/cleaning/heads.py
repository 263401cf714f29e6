"""Remove running heads and feet: lines at the edges of pages that recur on the pages around them."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

from stories.cleaning.ledger import Edit
from stories.cleaning.numerals import parse_page_number
from stories.cleaning.pages import PAGE_END, continues_sentence

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
    return continues_sentence or (index > 0 and bool(page[index - 1].strip()) and page[index - 1].endswith(" "))


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
