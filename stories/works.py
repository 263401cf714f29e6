"""Find which files belong to one work, because chapters of a book must not be on both sides of the split."""

import re
from pathlib import PurePosixPath

from stories.numbers import BARE_NUMBER, NUMBER, parse_number

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


def work_key(path: str) -> str:
    """Return the key that all files of one work share.

    `emma/chapter-01.txt` and `emma/chapter-02.txt` are siblings, and so are `emma-01.txt` and `emma-02.txt`.
    Numbered files count as chapters. If that is wrong, they are only kept together; the opposite mistake would
    put chapters of one book on both sides of the split.
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
    # `int` accepts the digits that `\d` matches, in all scripts, but no superscripts and not thousands of digits.
    return tuple(
        (int(part), "") if part.isdecimal() and len(part) <= _MAX_DIGITS else (-1, part) for part in parts
    )


def _with_digits(chapter: str) -> str:
    word, number = re.fullmatch(rf"(.*?)({NUMBER})", chapter, re.I).groups()  # type: ignore[union-attr]
    return f"{word}{parse_number(number)}"


def _key(folder: str, stem: str) -> str:
    name = stem.strip("-_. ").casefold()
    return f"{folder}/{name}" if folder else name
