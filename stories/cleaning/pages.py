"""Remove page numbers, and join the paragraphs that a page break divides.

Pages end with a form feed, as the readers of paged formats and PDF-to-text programs write it. If a text has no
form feeds but page numbers in mid-sentence, form feeds are added here.
"""

# ruff: noqa: RUF001 - the full-width punctuation ends sentences in Chinese and Japanese

import re
from collections import Counter

from stories.cleaning.ledger import Edit
from stories.cleaning.numerals import parse_page_number

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
    """Insert a page end at each number of a rising sequence in mid-sentence; chapter numbers never stand there."""
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
