"""Find the title of a story: its first heading, its first line or the name of its file."""

import re
import string
from collections.abc import Sequence
from pathlib import PurePosixPath

from stories.language import count_words
from stories.works import is_only_number

_LONGEST_TITLE_CHARACTERS = 100
_MAX_TITLE_WORDS = 14
_SENTENCE_END = re.compile("[.,;:\u2026\u3001\u3002]$")
_BYLINE = re.compile(r"^by\s+\S.{0,60}$", re.I)
# Stripped and not matched, because a pattern for the end of a text would restart at each of a million asterisks.
_MARKUP = f"#=*_~\u00a0\u3000{string.whitespace}"
_SPEECH = "\"'\u201c\u2018\u00ab\u201e\u2014\u2013-"


def split_title(text: str, name: str) -> tuple[str, str]:
    """Split a cleaned text into its title and its story.

    A short first line on its own is the title. It is removed from the story, with a line that names the author.
    If there is none, the title is made from the file's name.

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
    """Return whether a paragraph below "CHAPTER I" is its name: a short line that is neither sentence nor speech."""
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
