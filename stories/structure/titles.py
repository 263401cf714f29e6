"""Find the title of a story, and the work it belongs to.

The chapters of a book are one work, because they must not be on both sides of the split.
"""

import re
import string
from collections.abc import Sequence
from pathlib import PurePosixPath

from stories.language import count_words
from stories.numerals import BARE_NUMBER, NUMBER, parse_number

_LONGEST_TITLE_CHARACTERS = 100
_MAX_TITLE_WORDS = 14
_SENTENCE_END = re.compile("[.,;:\u2026\u3001\u3002]$")
_BYLINE = re.compile(r"^by\s+\S.{0,60}$", re.I)
# Stripped and not matched, because a pattern for the end of a text would restart at each of a million
# asterisks.
_MARKUP = f"#=*_~\u00a0\u3000{string.whitespace}"
_SPEECH = "\"'\u201c\u2018\u00ab\u201e\u2014\u2013-"

_CHAPTER_WORD = (
    "(?:chapter|chap|ch|part|pt|book|volume|vol|episode|ep|scene|act|canto|letter|section"
    "|kapitel|chapitre|cap[ií]tulo|capitolo|глава)"
)
_CHAPTER = re.compile(rf"(?:^|[-_. ]){_CHAPTER_WORD}[-_. ]*{NUMBER}(?=$|[-_. :,])", re.I)
_ONLY_NUMBER = re.compile(rf"(?:{_CHAPTER_WORD}[-_. ]*(?:the )?{NUMBER}|{BARE_NUMBER})[.:]?", re.I)
_LEADING_NUMBER = re.compile(r"^\d{1,4}(?=$|[-_. ])")
_UNUSUAL = re.compile(r"^/|(?:^|/)\.?(?:/|$)")
"""A path that is not normalized: `./a`, `a//b`, `a/`."""
_MAX_DIGITS = 100
_TRAILING_NUMBER = re.compile(r"(?<=[^\W\d_])[-_. ]*\d{1,4}$")


def split_title(text: str, name: str) -> tuple[str, str]:
    """Split a cleaned text into its title and its story.

    A short first line on its own is the title. It is removed from the story, with a line that names the
    author. If there is none, the title is made from the file's name.

    Args:
        text: cleaned text.
        name: path of the file.
    """
    first, _, rest = text.partition("\n\n")
    title = first.strip(_MARKUP)
    if not rest.strip() or not _looks_like_title(title):
        return title_from_name(name), text
    below, _, after = rest.partition("\n\n")
    if after.strip() and is_only_number(title) and is_chapter_name(below):
        title, rest = join_heading([title, below]), after
    byline, _, after = rest.partition("\n\n")
    if after.strip() and _BYLINE.match(byline.strip()):
        rest = after
    return title, rest.lstrip("\n")


def join_heading(lines: Sequence[str]) -> str:
    """Join a heading's lines: "CHAPTER I" over "The Party" becomes "CHAPTER I: The Party"."""
    lines = [line for line in (" ".join(line.strip(_MARKUP).split()) for line in lines) if line]
    if len(lines) > 1 and is_only_number(lines[0]):
        return f"{lines[0].rstrip('.:')}: {' '.join(lines[1:])}"
    return " ".join(lines)


def is_chapter_name(paragraph: str) -> bool:
    """Return whether a paragraph below "CHAPTER I" is its name: a short line, no sentence and no speech."""
    name = paragraph.strip(_MARKUP)
    return (
        "\n" not in name
        and 0 < len(name) <= _LONGEST_TITLE_CHARACTERS
        and not _SENTENCE_END.search(name)
        and not name[0].islower()
        and name[0] not in _SPEECH
        and not is_only_number(name)
    )


def title_from_name(name: str) -> str:
    """Make a title from a file's name: `the-tin_rooster.txt` becomes "The tin rooster"."""
    stem = PurePosixPath(name).stem or name
    words = re.sub(r"[-_.\s]+", " ", stem).strip()
    return (words[:1].upper() + words[1:])[:_LONGEST_TITLE_CHARACTERS] or "Untitled"


def _looks_like_title(line: str) -> bool:
    short = 0 < len(line) <= _LONGEST_TITLE_CHARACTERS and count_words(line) <= _MAX_TITLE_WORDS
    return (
        short and "\n" not in line and not _SENTENCE_END.search(line) and not line.startswith(("“", '"', "—"))
    )


def work_key(path: str) -> str:
    """Return the key that all files of one work share.

    `emma/chapter-01.txt` and `emma/chapter-02.txt` are siblings, and so are `emma-01.txt` and `emma-02.txt`.
    Numbered files count as chapters. If that is wrong, they are only kept together; the opposite mistake
    would put chapters of one book on both sides of the split.
    """
    if _UNUSUAL.search(path):
        path = str(PurePosixPath(path))
    folder, _, name = path.rpartition("/")
    # As in pathlib: the suffix follows the last dot, unless the name begins or ends with it.
    stem, dot, suffix = name.rpartition(".")
    stem = stem if stem and dot and suffix else name
    for pattern in (_CHAPTER, _TRAILING_NUMBER):
        found = pattern.search(stem)
        if found:
            return _key(folder, stem[: found.start()])
    if _LEADING_NUMBER.match(stem):
        return _key(folder, "")
    return _key(folder, stem)


def work_title(work: str) -> str | None:
    """Return a title for a work from its key, or None if the key has no name."""
    folder, _, stem = work.rpartition("/")
    name = stem or folder.rpartition("/")[2]
    words = re.sub(r"[-_.\s]+", " ", name).strip()
    return words[:1].upper() + words[1:] or None


def is_chapter_title(title: str) -> bool:
    """Return whether a title is numbered, as "Chapter 3: The Door", so that it needs its work's name."""
    return bool(_CHAPTER.match(title)) or is_only_number(title)


def is_only_number(title: str) -> bool:
    """Return whether a title is only a number, as "Chapter 3" and "XII"."""
    return bool(_ONLY_NUMBER.fullmatch(title))


def reading_order(path: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key that puts chapter 2 before chapter 10, and chapter IX before chapter X."""
    spelled = _CHAPTER.sub(lambda found: _with_digits(found[0]), path.casefold())
    parts = re.findall(r"\d+|\D+", spelled)
    # `int` accepts the digits that `\d` matches, in all scripts, but no superscripts and not thousands of
    # digits.
    return tuple(
        (int(part), "") if part.isdecimal() and len(part) <= _MAX_DIGITS else (-1, part) for part in parts
    )


def _with_digits(chapter: str) -> str:
    word, number = re.fullmatch(rf"(.*?)({NUMBER})", chapter, re.I).groups()  # type: ignore[union-attr]
    return f"{word}{parse_number(number)}"


def _key(folder: str, stem: str) -> str:
    name = stem.strip("-_. ").casefold()
    return f"{folder}/{name}" if folder else name
