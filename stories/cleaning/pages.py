"""What belongs to the paper and not to the story: page numbers, and the break in a paragraph at a page's end.

Pages end with a form feed, as readers of paged formats and programs that turn PDF into text write it. A text
without form feeds whose page numbers stand in mid-sentence gets them here.
"""

# ruff: noqa: RUF001 - the full-width signs are those that end sentences in Chinese and Japanese

import re
from collections import Counter

from stories.cleaning.ledger import Edit
from stories.cleaning.numerals import value_of

PAGE_END = "\f"

_NUMERAL = r"(?:\d{1,4}|[ivxlc]{1,8})"
_NUMBER_LINE = re.compile(
    rf"^[\W_]*(?:(?:page|pg|p|seite|s|página|pagina|pág)\b\.?\s*)?({_NUMERAL})"
    r"(?:\s*(?:of|/|von|de|sur|di|из)\s*\d{1,4})?[\W_]*$",
    re.I,
)
_HEAD_WITH_NUMBER = re.compile(r"^\s*(?:(\d{1,4})\W+(\D{2,60})|(\D{2,60}?)\W+(\d{1,4}))\s*$")
# From the first of several spaces only: else each of them would be the beginning of a new search.
_INLINE = re.compile(
    r"(?<![ \t])[ \t]*[\[{](?:pg|page|p\.)[ \t]?[\divxlc]{1,8}[\]}](?:[ \t]*\n(?=\S))?", re.I
)
_SENTENCE_END = re.compile(r"[.!?…:。！？][\s\"'”’»›)\]*_]*$")
_FEWEST_INLINE = 3
_FEWEST_PAGES_NUMBERED = 3
_FEWEST_FLAT_NUMBERS = 5
_LARGEST_STEP = 3
_INTERRUPTED_SHARE = 0.25
_SHORTEST_LINE_OF_PROSE = 30
_LONGEST_HEADING = 60


def drop_page_numbers(text: str) -> Edit:
    """Take out the numbers of pages: at their edges, in brackets, and alone amid a sentence."""
    places = 0
    markers = _INLINE.findall(text) if "[" in text or "{" in text else []
    if len(markers) >= _FEWEST_INLINE:
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
    """Put pages together: a paragraph that a page's end broke goes on, anything else begins a new one."""
    if PAGE_END not in text:
        return Edit(text)
    pages = [page.strip("\n") for page in text.split(PAGE_END)]
    joined = [next((page for page in pages), "")]
    for page in (page for page in pages[1:] if page.strip()):
        joined.extend((_seam(joined[-1], page), page))
    return Edit("".join(joined), len(pages) - 1)


def goes_on(before: str, after: str) -> bool:
    """Tell whether a line is the rest of the sentence that another line, on the page before, began."""
    first = next((character for character in after if character.isalnum()), "")
    if not before.strip() or not first:
        return False
    if first.islower():
        return True
    if _SENTENCE_END.search(before) or _is_heading(after):
        return False
    return len(before) >= _SHORTEST_LINE_OF_PROSE


def _seam(before: str, after: str) -> str:
    last = before.rpartition("\n")[2]
    if not goes_on(last, _first_block(after)):
        return "\n\n"
    # A space says that the line goes on, whatever its length; short lines are left to what unwraps them.
    is_prose = len(last) >= _SHORTEST_LINE_OF_PROSE and not last.endswith(" ")
    return " \n" if is_prose else "\n"


def _first_block(page: str) -> str:
    return page.lstrip("\n").partition("\n\n")[0]


def _is_heading(block: str) -> bool:
    return "\n" not in block and len(block) <= _LONGEST_HEADING and not _SENTENCE_END.search(block)


def _numbered_lines(pages: list[list[str]]) -> list[tuple[int, int]]:
    """Return page and line of each number that counts as the pages do."""
    found = [
        (number - index, index, line)
        for index, page in enumerate(pages)
        for line in _edges(page)
        if (number := _number(page[line])) is not None
    ]
    votes = Counter(offset for offset, _, _ in found)
    filled = sum(any(line.strip() for line in page) for page in pages)
    # A single page has nothing to compare its number with: it is believed to be the first.
    return [
        (index, line)
        for offset, index, line in found
        if votes[offset] >= min(_FEWEST_PAGES_NUMBERED, filled) and (filled > 1 or offset == 1)
    ]


def _edges(page: list[str]) -> list[int]:
    """Return where the first two and the last two lines with text are."""
    filled = [number for number, line in enumerate(page) if line.strip()]
    return sorted({*filled[:2], *filled[-2:]})


def _number(line: str) -> int | None:
    found = _NUMBER_LINE.match(line) if len(line) <= _LONGEST_HEADING else None
    return value_of(found[1]) if found else None


def _break_at_numbers(text: str) -> tuple[str, int]:
    """Put a page's end where numbers count upwards in the middle of sentences, as chapters' never do."""
    if text.count("\n") < _FEWEST_FLAT_NUMBERS:
        return text, 0
    lines = text.split("\n")
    chain = _longest_count(_candidates(lines))
    interrupted = sum(_interrupts(lines, line) for line in chain)
    if len(chain) < _FEWEST_FLAT_NUMBERS or interrupted < len(chain) * _INTERRUPTED_SHARE:
        return text, 0
    for line in chain:
        # The number alone goes; one beside a running head goes with it, when heads are dropped.
        lines[line] = PAGE_END if _number(lines[line]) is not None else PAGE_END + lines[line]
    return "\n".join(lines), len(chain)


def _candidates(lines: list[str]) -> list[tuple[int, int]]:
    """Return line and value of every line that may be a page's number, with a running head or without."""
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
    found += [(index, number) for index, number, head in heads if often[head] >= _FEWEST_PAGES_NUMBERED]
    return sorted(found)


def _longest_count(candidates: list[tuple[int, int]]) -> list[int]:
    """Return the lines of the longest run of numbers that count upwards, with few left out."""
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
