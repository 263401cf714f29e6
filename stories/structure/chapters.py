"""Find the chapters of a book in plain text, by lines such as "CHAPTER XII" or "3. The Door".

A line is a heading only as one of a sequence: "Chapter 1", "Chapter 2", "Chapter 3" with text between them.
"""

import itertools
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from stories.language import count_words
from stories.numerals import BARE_NUMBER, CHINESE_NUMBER, NUMBER, parse_number
from stories.structure.headings import PART
from stories.structure.titles import is_chapter_name, join_heading

_LONGEST_HEADING_CHARACTERS = 100
_MAX_HEADING_LINES = 3
_CHAPTER_WORD = (
    "chapter|chap\\.|book|part|volume|vol\\.|episode|scene|act|canto|letter|stave|section|story|tale"
    "|kapitel|teil|buch|band|akt|szene|brief|gesang|chapitre|partie|livre|tome|lettre|chant"
    "|cap[ií]tulo|parte|libro|carta|capitolo|lettera|canto|глава|часть|книга|том|hoofdstuk|rozdział"
)
_SEPARATOR = r"(?:\s*[.:\u2013\u2014-]+\s*|\s+|$)"
_WORD_FIRST = re.compile(
    rf"(?P<word>{_CHAPTER_WORD})\s+(?:the\s+)?(?P<number>{NUMBER})(?!\w){_SEPARATOR}?(?P<name>.*)", re.I
)
_NUMBER_FIRST = re.compile(
    rf"(?P<number>{NUMBER})\.?\s+(?P<word>{_CHAPTER_WORD})(?!\w){_SEPARATOR}?(?P<name>.*)", re.I
)
_CHINESE = re.compile(rf"第(?P<number>{CHINESE_NUMBER})(?P<word>[章回节節话話卷部])\s*(?P<name>.*)")
_BARE = re.compile(rf"(?P<number>{BARE_NUMBER})(?:[.:)]\s*(?P<name>\S.*)|[.:)]?)", re.I)
_NAMED = re.compile(
    r"(?:prologue?|epilogue?|prolog|epilog|preface|foreword|introduction|afterword|interlude|postscript"
    r"|vorwort|nachwort|einleitung|préface|avant-propos|prólogo|epílogo|prologo|epilogo|пролог|эпилог"
    r"|conclusion)(?:\s*[.:\u2013\u2014-]\s*(?P<name>.+))?[.:]?",
    re.I,
)
# Decoration around a number in plain text: "## 3 ##", "[Chapter 3]", "- XII -".
_MARKUP = f"#=*_~\u00a0\u3000{string.whitespace}"
_FRAMED = re.compile(r"[\[(](?P<inside>[^\])]+)[\])]|-+\s*(?P<between>.+?)\s*-+")
_SENTENCE_END = re.compile(r"[.!?\u2026,;]['\"\u201d\u2019\u00bb]?$")
_PARAGRAPH = re.compile(r"[^\n]+(?:\n[^\n]+)*")

_BARE_KIND, _NAMED_KIND = "number", "name"
_MIN_WORDS_BETWEEN = 12
_MIN_BARE_NUMBERS = 3
_MIN_CHAPTERS = 2
# Sections of a short story and pages are numbered too, but neither is a chapter.
_MIN_WORDS_OF_A_NUMBERED_CHAPTER = 200
_MORE_LIKE_PAGES_FROM = 40
_MIN_WORDS_IF_THERE_ARE_MANY = 600
_MIN_WORDS_OF_A_CHAPTER = 20
_MIN_LINES_OF_CONTENTS = 3
_LARGEST_STEP = 2


@dataclass(frozen=True)
class Chapter:
    """The position of a chapter in a text; the next chapter begins at its end."""

    title: str
    begin: int
    """First character of its heading, or of the heading of the part above it."""
    body: int
    """First character of its text."""
    end: int


@dataclass(frozen=True)
class _Heading:
    """A paragraph that may be a heading."""

    begin: int
    end: int
    kind: str
    """The word before its number, such as "chapter"."""
    number: int
    title: str
    is_bare: bool
    """Whether it has a number but no name."""


def find_chapters(text: str) -> list[Chapter]:
    """Return the chapters of a cleaned text in order; none if its headings do not form a plausible sequence.

    The text before the first chapter is front matter.

    Args:
        text: paragraphs with an empty line between them.
    """
    headings = _without_contents(text, list(_candidates(text)))
    kind = _most_likely_kind(text, headings)
    if kind is None:
        return []
    sequence = set(_in_sequence(headings, kind))
    chosen = [
        heading
        for heading in headings
        if heading in sequence or heading.kind == _NAMED_KIND or _is_part(heading, kind)
    ]
    return list(_chapters(text, _with_names(text, chosen)))


def _candidates(text: str) -> Iterator[_Heading]:
    for paragraph in _PARAGRAPH.finditer(text):
        if paragraph.end() - paragraph.start() <= _LONGEST_HEADING_CHARACTERS:
            heading = _as_heading(paragraph)
            if heading:
                yield heading


def _as_heading(paragraph: re.Match[str]) -> _Heading | None:
    lines = [line for line in map(_without_decoration, paragraph[0].split("\n")) if line]
    if not lines or len(lines) > _MAX_HEADING_LINES:
        return None
    kind, number, name = _parse(lines[0])
    if number is None or (name and name[0].islower()):
        return None
    if kind == _BARE_KIND and (_SENTENCE_END.search(name) or len(lines) > 1):
        return None
    return _Heading(
        paragraph.start(),
        paragraph.end(),
        kind,
        number,
        join_heading(lines),
        is_bare=not name and len(lines) == 1,
    )


def _without_decoration(line: str) -> str:
    plain = line.strip(_MARKUP)
    framed = _FRAMED.fullmatch(plain)
    return framed["inside"] or framed["between"] if framed else plain


def _parse(line: str) -> tuple[str, int | None, str]:
    """Return the word before a heading's number, the number and the name after it."""
    for pattern in (_WORD_FIRST, _NUMBER_FIRST, _CHINESE):
        found = pattern.fullmatch(line)
        if found:
            return found["word"].casefold(), parse_number(found["number"]), found["name"].strip()
    found = _BARE.fullmatch(line)
    if found:
        return _BARE_KIND, parse_number(found["number"]), (found["name"] or "").strip()
    if _NAMED.fullmatch(line):
        return _NAMED_KIND, 0, ""
    return "", None, ""


def _words_after(text: str, headings: Sequence[_Heading]) -> list[int]:
    """Count the words between each heading and the next."""
    ends = [*(heading.begin for heading in headings[1:]), len(text)][: len(headings)]
    return [count_words(text[heading.end : end]) for heading, end in zip(headings, ends, strict=True)]


def _without_contents(text: str, headings: list[_Heading]) -> list[_Heading]:
    """Leave out a table of contents: headings without text between them that recur further down."""
    gaps = [words < _MIN_WORDS_BETWEEN for words in _words_after(text, headings)]
    kept: list[_Heading] = []
    later = Counter((heading.kind, heading.number) for heading in headings)
    position = 0
    for is_empty, group in itertools.groupby(gaps):
        run = headings[position : position + len(list(group))]
        position += len(run)
        for heading in run:
            later[heading.kind, heading.number] -= 1
            repeats = later[heading.kind, heading.number] > 0
            if not (is_empty and repeats and len(run) >= _MIN_LINES_OF_CONTENTS):
                kept.append(heading)
    return kept


def _most_likely_kind(text: str, headings: Sequence[_Heading]) -> str | None:
    """Return the kind of heading that most plausibly numbers the chapters, or None."""
    kinds = dict.fromkeys(heading.kind for heading in headings if heading.kind != _NAMED_KIND)
    believable = [
        (len(sequence), kind)
        for kind in kinds
        for sequence in [_in_sequence(headings, kind)]
        if _is_believable(text, sequence, kind)
    ]
    return max(believable, key=lambda found: found[0])[1] if believable else None


def _in_sequence(headings: Sequence[_Heading], kind: str) -> list[_Heading]:
    """Return the headings of a kind whose numbers increase, or restart at one as in a new part."""
    sequence: list[_Heading] = []
    for heading in headings:
        if heading.kind != kind:
            continue
        last = sequence[-1].number if sequence else None
        is_start = heading.number <= 1 or (last is None and kind != _BARE_KIND)
        if is_start or (last is not None and last < heading.number <= last + _LARGEST_STEP):
            sequence.append(heading)
    return sequence


def _is_believable(text: str, sequence: Sequence[_Heading], kind: str) -> bool:
    if len(sequence) < (_MIN_BARE_NUMBERS if kind == _BARE_KIND else _MIN_CHAPTERS):
        return False
    if len({heading.number for heading in sequence}) < _MIN_CHAPTERS:
        return False
    words = median(_words_after(text, sequence))
    if kind != _BARE_KIND:
        return words >= _MIN_WORDS_OF_A_CHAPTER
    if len(sequence) > _MORE_LIKE_PAGES_FROM:
        return words >= _MIN_WORDS_IF_THERE_ARE_MANY
    return words >= _MIN_WORDS_OF_A_NUMBERED_CHAPTER


def _is_part(heading: _Heading, kind: str) -> bool:
    return heading.kind != kind and bool(PART.match(heading.title))


def _with_names(text: str, headings: Sequence[_Heading]) -> list[_Heading]:
    """Add the names in the paragraphs below the numbers, if most chapters have one."""
    named = [_with_name(text, heading) for heading in headings]
    bare = [heading.is_bare for heading in headings]
    found = sum(new.end > old.end for new, old in zip(named, headings, strict=True))
    return named if found * 2 > sum(bare) else list(headings)


def _with_name(text: str, heading: _Heading) -> _Heading:
    if not heading.is_bare or PART.match(heading.title):
        return heading
    following = _PARAGRAPH.search(text, heading.end)
    if not following or not is_chapter_name(following[0]):
        return heading
    title = join_heading([heading.title, following[0]])
    return replace(heading, end=following.end(), title=title)


def _chapters(text: str, headings: Sequence[_Heading]) -> Iterator[Chapter]:
    part: _Heading | None = None
    waiting: int | None = None
    ends = [heading.begin for heading in headings[1:]] + [len(text)]
    for heading, end in zip(headings, ends, strict=True):
        begin = heading.begin if waiting is None else waiting
        if PART.match(heading.title) and count_words(text[heading.end : end]) < _MIN_WORDS_BETWEEN:
            # A part's heading belongs to its first chapter, and its name goes into the titles of all its
            # chapters.
            part, waiting = heading, begin
            continue
        waiting = None
        counts = heading.kind != _NAMED_KIND
        title = f"{part.title}, {heading.title}" if part and counts else heading.title
        yield Chapter(title, begin, heading.end, end)
