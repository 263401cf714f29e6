"""Remove what distributors put around a text: licences, imprints and requests."""

# ruff: noqa: RUF001 - notices use these quotation marks

import re
from collections.abc import Iterator

from stories.records import Edit

_START = re.compile(
    r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]{0,400}?\*{3}[^\n]*$"
    r"|^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG [^\n]*$"
    r"|^\*END\*? ?THE SMALL PRINT[^\n]*$",
    re.M | re.I,
)
_END = re.compile(
    r"^(?:\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG [^\n]*"
    r"|End of (?:the |this )?Project Gutenberg(?:['’]s)? [^\n]*"
    r"|\*{3} ?START: FULL LICENSE[^\n]*|THE FULL PROJECT GUTENBERG(?:-TM|™)? LICENSE[^\n]*)$",
    re.M | re.I,
)
# Each of these phrases alone shows that a paragraph is about the file and not part of the story.
_NOTICE = re.compile(
    r"no part of (?:this|the) (?:e-?book|book|publication|work|story)[^.]{0,60}"
    r" may be (?:re|used|copied|stored)"
    r"|(?:e-?book|book|story|work|edition) is licen[sc]ed (?:for your personal|under|to you)"
    r"|smashwords edition|license notes|thank you for respecting the hard work"
    r"|(?:posted )?originally (?:posted )?on the archive of our own"
    r"|please drop by the archive and comment"
    r"|(?:brought to you|published|provided) by (?:feedbooks|standard ?ebooks|project gutenberg)"
    r"|volunteer.driven effort[^.]{0,80}standard ebooks|product of many hours of hard work by volunteers"
    r"|(?:produced|prepared|transcribed|scanned|proofread)\b[^.]{0,80}"
    r"(?:proofread|project gutenberg|pgdp|volunteer|internet archive)"
    r"|standardebooks\.org|gutenberg\.(?:org|net)|www\.smashwords|feedbooks\.com|archiveofourown\.org"
    r"|this is a digital copy of a book that was preserved for generations"
    r"|(?:this is a work of fiction|names, characters)[^.]{0,80}"
    r"(?:names|characters|coincidental|products? of the author)"
    r"|(?:^|(?:copyright|©)[^“”\"]{0,120})all rights reserved|\bISBN(?:-1[03])?:? ?[\d-]{9,}"
    r"|creative commons attribution|public domain dedication"
    r"|may do (?:almost )?anything (?:that )?you (?:like|want) with (?:it|this)"
    r"|you may copy it, give it away or re-?use it",
    re.I,
)
# Each phrase contains one of these words. Searching for the words is a hundred times faster than for the
# phrases, which are then searched only near the words.
_WORDS_OF_NOTICES = (
    *("no part of", "licen", "smashwords", "the hard work", "archive of our own", "archive and comment"),
    *("feedbooks", "standard", "gutenberg", "volunteer", "proofread", "pgdp", "internet archive"),
    *("archiveofourown", "digital copy of a book", "work of fiction", "names, characters"),
    *("all rights reserved", "isbn", "creative commons", "public domain dedication", "may do "),
    "you may copy it",
)
_WORD_OF_NOTICE = re.compile("|".join(map(re.escape, _WORDS_OF_NOTICES)))
# These count only beside a notice.
_COMPANION = re.compile(
    r"^(?:copyright\b|©|\(c\)|published\b|first published\b|(?:e-?book|print|first|second|kindle) edition\b|"
    r"edition:|cover (?:art|design)\b|https?://|www\.|rating:|archive warnings?:|category:|fandoms?:|"
    r"relationships?:|characters?:|additional tags:|language:|series:|stats:|collections:|"
    r"uncopyright$|imprint$|colophon$|licen[sc]e(?: notes)?$|release date\b|posting date\b|credits:|"
    r"character set encoding\b|title:|author:|illustrator:|translator:)",
    re.I,
)
_GAP = re.compile(r"(\n[ \t]*(?:\n[ \t]*)+|\f)")
_PARAGRAPHS_AT_AN_EDGE = 40
_CHARACTERS_AT_AN_EDGE = 20_000
_LONGEST_COMPANION = 250
_LONGEST_NOTICE = 3000
_WIDEST_PHRASE = 250
"""Maximum length of one phrase of a notice, in characters."""


def drop_notices(text: str) -> Edit:
    """Remove a distributor's notices before and after the text."""
    inside, places = _between_markers(text)
    edges = {inside[:_CHARACTERS_AT_AN_EDGE], inside[-_CHARACTERS_AT_AN_EDGE:]}
    if not any(map(_holds_a_notice, edges)):
        return Edit(inside, places)
    kept, dropped = _without_notices(inside)
    return Edit(kept, places + dropped)


def _between_markers(text: str) -> tuple[str, int]:
    """Keep the text between Project Gutenberg's markers; a file may contain several books."""
    lowered = text.lower()
    if "gutenberg" not in lowered and "small print" not in lowered:
        return text, 0
    marks = sorted(
        [(found.start(), found.end(), True) for found in _START.finditer(text)]
        + [(found.start(), found.end(), False) for found in _END.finditer(text)]
    )
    if not marks:
        return text, 0
    kept: list[str] = []
    begin: int | None = None if marks[0][2] else 0
    for start, end, is_start in marks:
        if is_start:
            begin = end
        elif begin is not None:
            kept.append(text[begin:start])
            begin = None
    if begin is not None:
        kept.append(text[begin:])
    return "\n\n".join(kept), len(marks)


def _without_notices(text: str) -> tuple[str, int]:
    pieces = _GAP.split(text)
    paragraphs = range(0, len(pieces), 2)
    dropped: set[int] = set()
    for zone in (paragraphs[:_PARAGRAPHS_AT_AN_EDGE], paragraphs[-_PARAGRAPHS_AT_AN_EDGE:]):
        notices = {number for number in zone if _is_notice(pieces[number])}
        if notices:
            dropped |= notices | {number for number in zone if _is_companion(pieces[number])}
    for number in dropped:
        pieces[number] = ""
    return ("".join(pieces), len(dropped)) if dropped else (text, 0)


def _is_notice(paragraph: str) -> bool:
    if len(paragraph) > _LONGEST_NOTICE:
        return False
    return _holds_a_notice(paragraph)


def _holds_a_notice(text: str) -> bool:
    text = " ".join(text.split())
    lowered = text.lower()
    if len(lowered) != len(text):  # some letters become two in lower case, so positions would differ
        return bool(_NOTICE.search(text))
    if not any(word in lowered for word in _WORDS_OF_NOTICES):
        return False
    return any(_NOTICE.search(text, begin, end) for begin, end in _around_words(lowered))


def _around_words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges around the words of notices; overlapping ranges are merged."""
    begin = end = -1
    for found in _WORD_OF_NOTICE.finditer(text):
        if end >= 0 and found.start() - _WIDEST_PHRASE > end:
            yield begin, end
            end = -1
        if end < 0:
            begin = max(0, found.start() - _WIDEST_PHRASE)
        end = found.start() + _WIDEST_PHRASE
    if end >= 0:
        yield begin, end


def _is_companion(paragraph: str) -> bool:
    return len(paragraph) <= _LONGEST_COMPANION and bool(_COMPANION.match(paragraph.strip()))
