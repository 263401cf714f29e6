"""What a story is called: its first heading, else its first line, else the name of its file."""

import re
from pathlib import PurePosixPath

from stories.language import count_words

_LONGEST_TITLE_CHARACTERS = 100
_MOST_TITLE_WORDS = 14
_SENTENCE_END = re.compile("[.,;:\u2026\u3001\u3002]$")
_BYLINE = re.compile(r"^by\s+\S.{0,60}$", re.I)
_MARKUP = re.compile(r"^[#=*_~\s]+|[#=*_~\s]+$")


def take_title(text: str, name: str) -> tuple[str, str]:
    """Split a cleaned text into its title and its story.

    A short first line on its own is the title and leaves the story, with a line that names the author.
    Where there is none the file's name is the title.

    Args:
        text: cleaned text.
        name: path of the file, the last part of which may name the story.
    """
    first, _, rest = text.partition("\n\n")
    title = _MARKUP.sub("", first)
    if not rest.strip() or not _looks_like_title(title):
        return title_from_name(name), text
    byline, _, after = rest.partition("\n\n")
    if after.strip() and _BYLINE.match(byline.strip()):
        rest = after
    return title, rest.lstrip("\n")


def title_from_name(name: str) -> str:
    """Make a title of a file's name: `the-tin_rooster.txt` is "The tin rooster"."""
    stem = PurePosixPath(name).stem or name
    words = re.sub(r"[-_.\s]+", " ", stem).strip()
    return (words[:1].upper() + words[1:])[:_LONGEST_TITLE_CHARACTERS] or "Untitled"


def _looks_like_title(line: str) -> bool:
    short = 0 < len(line) <= _LONGEST_TITLE_CHARACTERS and count_words(line) <= _MOST_TITLE_WORDS
    return (
        short and "\n" not in line and not _SENTENCE_END.search(line) and not line.startswith(("“", '"', "—"))
    )
