"""Split a document with marked headings into chapters, and leave out its front and back matter."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from stories.language import count_words
from stories.numerals import BARE_NUMBER, NUMBER
from stories.records import RawStory, UnusablePart
from stories.structure.titles import is_chapter_title, is_only_number, join_heading

_PART_WORD = (
    "(?:part|book|volume|vol\\.|act|akt|teil|buch|band|partie|livre|tome|parte|libro|volumen|том|часть|книга)"
)
PART = re.compile(rf"^{_PART_WORD}\s+(?:the\s+)?{NUMBER}(?!\w)", re.I)
"""Beginning of a heading of a part, such as "Volume II", which contains chapters."""

_FRONT_OR_BACK_MATTER = re.compile(
    r"(?:(?:table of )?contents|inhalt|inhaltsverzeichnis|table des mati[eè]res|sommaire|[ií]ndice|sommario"
    r"|содержание|оглавление|目次|目录|cover|(?:half[- ]?)?title(?: ?page)?|un?copyright|copyright(?: page)?"
    r"|colophon|imprint|impressum|credits|about the (?:author|publisher)|also by .*|by the same author"
    r"|index|bibliography|(?:foot|end)?notes|list of illustrations|transcriber.s notes?)\W*",
    re.I,
)
_LEGAL = re.compile(r"©|\(c\) ?\d{4}|all rights reserved|\bISBN\b|alle rechte|tous droits", re.I)

_MIN_WORDS_OF_FRONT_MATTER = 50
_MIN_WORDS_OF_A_PREFACE_PARAGRAPH = 15
_MIN_WORDS_OF_A_SECTION = 40
_MIN_WORDS_OF_A_PART = 10


@dataclass(frozen=True)
class Block:
    """A paragraph, or a heading with its level, 1 being the highest."""

    text: str
    level: int = 0
    """0 for a paragraph."""


@dataclass
class _Section:
    """A heading and the paragraphs below it."""

    heading: str
    level: int
    paragraphs: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n\n".join(self.paragraphs)

    @property
    def characters(self) -> int:
        return len(self.heading) + len(self.text)


def split_at_headings(
    blocks: Iterable[Block], title: str | None = None, left_out: int = 0
) -> Iterator[RawStory | UnusablePart]:
    """Yield a story for each chapter, or one for the whole document if its headings do not mark chapters.

    Args:
        blocks: the document in reading order.
        title: title from the document's metadata, for a document without headings.
        left_out: characters of title pages and the like that are not among the blocks.
    """
    sections = _merge_headings(_cut(blocks))
    story, unused = _without_front_and_back_matter(sections)
    level = _chapter_level(story)
    if level is None:
        yield from _whole(story, title)
    else:
        chapters, skipped = _chapters(story, level)
        unused += skipped
        yield from chapters
    if unused or left_out:
        yield omitted_pages(unused + left_out)


def omitted_pages(characters: int) -> UnusablePart:
    """Return the unusable part that accounts for title page, contents and the like.

    Args:
        characters: their length.
    """
    return UnusablePart(
        "Its title page, contents or other pages around the story are left out: they are not part of it.",
        "Nothing needs to be done.",
        "pages around the story",
        characters,
    )


def is_preface(paragraphs: Iterable[str]) -> bool:
    """Return whether the text before the first chapter is a preface, which is kept, and not a title page."""
    prose = [part for part in paragraphs if not _LEGAL.search(part)]
    words = [count_words(part) for part in prose]
    return (
        sum(count for count in words if count >= _MIN_WORDS_OF_A_PREFACE_PARAGRAPH)
        >= _MIN_WORDS_OF_FRONT_MATTER
    )


def is_front_or_back_matter(heading: str) -> bool:
    """Return whether a heading begins contents, a copyright notice or other front or back matter."""
    return bool(_FRONT_OR_BACK_MATTER.fullmatch(heading.strip()))


def _cut(blocks: Iterable[Block]) -> list[_Section]:
    sections = [_Section("", 0)]
    for block in blocks:
        if not block.text.strip():
            continue
        if block.level:
            sections.append(_Section(join_heading(block.text.split("\n")), block.level))
        else:
            sections[-1].paragraphs.append(block.text)
    return [section for section in sections if section.heading or section.paragraphs]


def _merge_headings(sections: list[_Section]) -> list[_Section]:
    """Join a heading that is only a number with the name in the heading below it."""
    merged: list[_Section] = []
    for section in sections:
        last = merged[-1] if merged else None
        if (
            last
            and not last.paragraphs
            and not PART.match(last.heading)
            and is_only_number(last.heading)
            and not _counts(section.heading)
            and section.level >= last.level
        ):
            merged[-1] = _Section(
                join_heading([last.heading, section.heading]), last.level, section.paragraphs
            )
        else:
            merged.append(section)
    return merged


def _counts(heading: str) -> bool:
    return is_chapter_title(heading) or bool(re.match(rf"{BARE_NUMBER}(?!\w)", heading, re.I))


def _without_front_and_back_matter(sections: Sequence[_Section]) -> tuple[list[_Section], int]:
    """Leave out front and back matter, with their subsections."""
    kept: list[_Section] = []
    unused = 0
    below: int | None = None
    for section in sections:
        if below is not None and section.level > below:
            unused += section.characters
            continue
        below = section.level if section.heading and is_front_or_back_matter(section.heading) else None
        if below is None:
            kept.append(section)
        else:
            unused += section.characters
    return kept, unused


def _chapter_level(sections: Sequence[_Section]) -> int | None:
    """Return the level of the headings that begin chapters; None if there are no chapters."""
    counts = Counter(section.level for section in sections if section.heading)
    levels = sorted(level for level, count in counts.items() if count > 1)
    for level in levels:
        if level != levels[-1] and _is_level_of_parts(sections, level):
            continue
        words = [count_words(text) for text in _texts(sections, level)]
        counting = sum(is_chapter_title(section.heading) for section in sections if section.level == level)
        if counting * 2 > counts[level] or (words and median(words) >= _MIN_WORDS_OF_A_SECTION):
            return level
    return None


def _is_level_of_parts(sections: Sequence[_Section], level: int) -> bool:
    """Return whether most words are in subsections of headings without text of their own, as parts are."""
    words = held = 0
    is_holder = False
    for section in sections:
        count = count_words(section.text)
        if section.level <= level:
            is_part = bool(PART.match(section.heading)) or not is_chapter_title(section.heading)
            is_holder = section.level == level and is_part and count < _MIN_WORDS_OF_FRONT_MATTER
        elif is_holder:
            held += count
        words += count
    return held * 2 > words


def _texts(sections: Sequence[_Section], level: int) -> list[str]:
    texts: list[list[str]] = []
    for section in sections:
        if section.level == level:
            texts.append([section.text])
        elif section.level > level and texts:
            texts[-1].append(section.text)
    return ["\n\n".join(parts) for parts in texts]


def _whole(sections: Sequence[_Section], title: str | None) -> Iterator[RawStory]:
    """Yield the document as one story; its first heading is the title if no text is before it."""
    parts: list[str] = []
    heading: str | None = None
    for section in sections:
        if section.heading and heading is None and not parts:
            heading = section.heading
        elif section.heading:
            parts.append(section.heading)
        parts += section.paragraphs
    text = "\n\n".join(parts)
    if text:
        yield RawStory(text, heading or title)


def _chapters(sections: Sequence[_Section], level: int) -> tuple[list[RawStory], int]:
    """Return the chapters, and how many characters of title pages are left out."""
    drafts: list[RawStory] = []
    unused = 0
    part = ""
    for section in _with_subsections(sections, level):
        is_chapter = section.level == level and not _is_empty_part(section)
        if is_chapter and section.paragraphs:
            drafts.append(_chapter(section, part))
            continue
        part = section.heading if PART.match(section.heading) else part
        if not is_chapter and is_preface(section.paragraphs):
            drafts.append(RawStory(section.text, section.heading or None, is_chapter=True))
        else:
            unused += len(section.text) if section.heading == part else section.characters
    return drafts, unused


def _with_subsections(sections: Sequence[_Section], level: int) -> list[_Section]:
    """Merge subsections, with their headings, into the text of their chapter."""
    result: list[_Section] = []
    for section in sections:
        if section.level > level and result and result[-1].level == level:
            result[-1].paragraphs += [section.heading, *section.paragraphs]
        else:
            result.append(_Section(section.heading, section.level, list(section.paragraphs)))
    return result


def _is_empty_part(section: _Section) -> bool:
    return bool(PART.match(section.heading)) and count_words(section.text) < _MIN_WORDS_OF_A_PART


def _chapter(section: _Section, part: str) -> RawStory:
    title = f"{part}, {section.heading}" if part and is_chapter_title(section.heading) else section.heading
    return RawStory(section.text, title, is_chapter=True)


def omitted_notes(notes: Sequence[str]) -> Iterator[UnusablePart]:
    """Yield the unusable part that accounts for footnotes, which would interrupt the story.

    Args:
        notes: their texts.
    """
    if notes:
        many = f"Its {len(notes)} footnotes are" if len(notes) > 1 else "Its footnote is"
        yield UnusablePart(
            f"{many} left out: in a story they would interrupt sentences.",
            "If they belong to the story, move them into its text; otherwise nothing needs to be done.",
            "footnotes",
            sum(map(len, notes)),
        )
