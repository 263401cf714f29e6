"""Which files belong to one work: the chapters of a book must not stand on both sides of the split."""

import re
from pathlib import PurePosixPath

from stories.numbers import BARE_NUMBER, NUMBER, value

_CHAPTER_WORD = (
    "(?:chapter|chap|ch|part|pt|book|volume|vol|episode|ep|scene|act|canto|letter|section"
    "|kapitel|chapitre|cap[ií]tulo|capitolo|глава)"
)
_CHAPTER = re.compile(rf"(?:^|[-_. ]){_CHAPTER_WORD}[-_. ]*{NUMBER}(?=$|[-_. :,])", re.I)
_ONLY_NUMBER = re.compile(rf"(?:{_CHAPTER_WORD}[-_. ]*(?:the )?{NUMBER}|{BARE_NUMBER})[.:]?", re.I)
_LEADING_NUMBER = re.compile(r"^\d{1,4}(?=$|[-_. ])")
_UNUSUAL = re.compile(r"^/|(?:^|/)\.?(?:/|$)")
"""A path that has another, shorter form: `./a`, `a//b`, `a/`."""
_MOST_DIGITS = 100
_TRAILING_NUMBER = re.compile(r"(?<=[^\W\d_])[-_. ]*\d{1,4}$")


def work_key(path: str) -> str:
    """Return the key that all files of one work share.

    `emma/chapter-01.txt` and `emma/chapter-02.txt` are siblings, and so are `emma-01.txt` and `emma-02.txt`.
    Numbered files are taken for chapters: wrongly so, they are only kept together; wrongly not, chapters
    of one book would stand on both sides of the split.
    """
    if _UNUSUAL.search(path):
        path = str(PurePosixPath(path))
    folder, _, name = path.rpartition("/")
    # As pathlib has it: the suffix follows the last dot, unless the name begins or ends with that.
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
    """Return a title for a work from its key, or None where it has no name of its own."""
    folder, _, stem = work.rpartition("/")
    name = stem or folder.rpartition("/")[2]
    words = re.sub(r"[-_.\s]+", " ", name).strip()
    return words[:1].upper() + words[1:] or None


def is_chapter_title(title: str) -> bool:
    """Tell whether a title counts, as "Chapter 3: The Door" does, and needs its work's name beside it."""
    return bool(_CHAPTER.match(title)) or is_only_number(title)


def is_only_number(title: str) -> bool:
    """Tell whether a title does nothing but count, as "Chapter 3" and "XII" do."""
    return bool(_ONLY_NUMBER.fullmatch(title))


def reading_order(path: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key that puts chapter 2 before chapter 10, and chapter IX before chapter X."""
    spelled = _CHAPTER.sub(lambda found: _with_digits(found[0]), path.casefold())
    parts = re.findall(r"\d+|\D+", spelled)
    # Of the digits of all scripts `int` takes those that `\d` matches: no superscript, and not by thousands.
    return tuple(
        (int(part), "") if part.isdecimal() and len(part) <= _MOST_DIGITS else (-1, part) for part in parts
    )


def _with_digits(chapter: str) -> str:
    word, number = re.fullmatch(rf"(.*?)({NUMBER})", chapter, re.I).groups()  # type: ignore[union-attr]
    return f"{word}{value(number)}"


def _key(folder: str, stem: str) -> str:
    name = stem.strip("-_. ").casefold()
    return f"{folder}/{name}" if folder else name
