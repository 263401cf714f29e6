"""Undo line wrapping: join broken lines and broken words.

Lines of verse and letters are kept, and so are the hyphens of compound words.
"""

import itertools
import re
import unicodedata
from collections import Counter
from typing import NamedTuple

from stories.records import Edit

_PARAGRAPH_END = re.compile(r"\n{2,}")
_LONGER_GAP = re.compile(r"\n{3,}")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•+]|\d{1,3}[.)])\s")
_INDENTED = re.compile(r"^(?: {2,}|\t)\S")
# RFC 3676: a line that ends with a space continues in the next one. The PDF reader marks full lines like
# this; in other files such spaces mean nothing.
_FLOWED = re.compile(r"(\S) +\n(?=\S)")

_HYPHENS_AND_DASHES = "-\u2010\u2013\u2014\u00ad"

_NARROWEST_WRAP = 55
_NARROWEST_PROSE = 28
_WIDEST_WRAP = 100
_UNEVEN_WRAP = 10
_WRAPPED_SHARE = 0.7
_LONG_LINES_SHARE = 0.1
_PROSE_SHARE = 0.5
_MIN_LINES_OF_NARROW_PROSE = 20

SOFT_HYPHEN = "\u00ad"

# The hyphen comes first in the pattern because it is rare: what precedes it is checked only then.
_BROKEN = re.compile(r"[-\u2010\u00ac](?<=[^\W\d_][-\u2010\u00ac])(?=[ \t]*\n[ \t]*([^\W\d_]+))")
_LAST_WORD = re.compile(r"[^\W\d_]+$")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LONGEST_HALF = 40
_SHORTEST_WORD_OF_A_COMPOUND = 3
_MIN_STRANGE = 3


def join_flowed(text: str) -> Edit:
    """Join the lines of a paged document that end with a space, which marks that they continue."""
    places = 0

    def joined(found: re.Match[str]) -> str:
        nonlocal places
        places += 1
        before = text[max(0, found.start() - 1) : found.start() + 1]
        return found[1] + ("" if _needs_no_space(before, text[found.end() : found.end() + 1]) else " ")

    return Edit(_FLOWED.sub(joined, text), places)


def unwrap(text: str) -> Edit:
    """Join the lines that were broken only because the next word did not fit."""
    if "\n" not in text:
        return Edit(text)
    lines = [line for line in text.split("\n") if line]
    width = _wrap_width(lines)
    if width is None:
        return Edit(text)
    blocks = _PARAGRAPH_END.split(text.strip("\n"))
    unwrapped = [_unwrap_block(block.split("\n"), width) for block in blocks]
    places = sum(one.count("\n") - other.count("\n") for one, other in zip(blocks, unwrapped, strict=True))
    return Edit("\n\n".join(unwrapped), max(0, places))


def tidy(text: str) -> Edit:
    """Remove spaces at the ends of lines, and all but one of the empty lines between paragraphs."""
    lines = text.split("\n")
    bare = [line.rstrip() for line in lines]
    places = sum(line != other for line, other in zip(lines, bare, strict=True))
    stripped = "\n".join(bare)
    paragraphs = _PARAGRAPH_END.split(stripped.strip())
    # Indentation means something in verse, but not in a single line.
    tidied = "\n\n".join(part if "\n" in part else part.strip() for part in paragraphs).strip()
    return Edit(tidied, places + _count_longer_gaps(stripped))


def _count_longer_gaps(text: str) -> int:
    return len(_LONGER_GAP.findall(text)) if "\n\n\n" in text else 0


def _wrap_width(lines: list[str]) -> int | None:
    """Return the length of the longest wrapped line, or None if lines are not wrapped."""
    fitting = sorted(len(line) for line in lines if len(line) <= _WIDEST_WRAP)
    if not fitting or len(lines) - len(fitting) > len(lines) * _LONG_LINES_SHARE:
        return None
    # One line in a hundred may be longer, such as a web address that could not be broken.
    width = fitting[-1 - len(fitting) // 100]
    if width >= _NARROWEST_WRAP:
        return width
    return width if width >= _NARROWEST_PROSE and _is_narrow_prose(lines, width) else None


def _is_narrow_prose(lines: list[str], width: int) -> bool:
    """Return whether short lines are a narrow column of prose: full lines that continue in lower case."""
    pairs = list(itertools.pairwise(lines))
    if len(pairs) < _MIN_LINES_OF_NARROW_PROSE:
        return False
    full = sum(_is_full(line, following, width - _slack(width)) for line, following in pairs)
    small = sum(not _begins_with_capital(line) for line in lines)
    return full >= len(pairs) * _PROSE_SHARE and small >= len(lines) * _PROSE_SHARE


def _slack(width: int) -> int:
    return min(_UNEVEN_WRAP, width // 6)


def _unwrap_block(lines: list[str], width: int) -> str:
    parts = _split_at_indents(lines)
    if not any(_is_wrapped(part, width) for part in parts):
        return "\n".join(lines)
    return "\n\n".join(_join(part) if _is_wrapped(part, width) else "\n".join(part) for part in parts)


def _split_at_indents(lines: list[str]) -> list[list[str]]:
    """Split a block whose paragraphs begin with an indentation instead of an empty line."""
    starts = [number for number, line in enumerate(lines) if number and _INDENTED.match(line)]
    if not starts or len(starts) + 1 > len(lines) / 2:
        return [lines]
    edges = [0, *starts, len(lines)]
    return [lines[begin:end] for begin, end in itertools.pairwise(edges)]


def _is_wrapped(lines: list[str], width: int) -> bool:
    if len(lines) < 2 or any(_LIST_ITEM.match(line) for line in lines[1:]):
        return False
    capitals = sum(_begins_with_capital(line) for line in lines[1:])
    # Lines of verse begin with capitals; lines of prose rarely do, and they are wrapped unevenly.
    room = width if capitals * 2 > len(lines) - 1 else width - _slack(width)
    full = sum(_is_full(line, following, room) for line, following in itertools.pairwise(lines))
    return full >= (len(lines) - 1) * _WRAPPED_SHARE


def _is_full(line: str, following: str, room: int) -> bool:
    return len(line) + 1 + len(following.split(maxsplit=1)[0] if following.strip() else "") > room


def _begins_with_capital(line: str) -> bool:
    return next((character.isupper() for character in line if character.isalnum()), False)


def _join(lines: list[str]) -> str:
    joined = [lines[0].strip()]
    for line in lines[1:]:
        following = line.strip()
        joined.append(following if _needs_no_space(joined[-1], following) else " " + following)
    return "".join(joined)


def _needs_no_space(before: str, after: str) -> bool:
    # A word broken at its hyphen or dash has no space there; Chinese and Japanese have no spaces.
    if before[-1:] in _HYPHENS_AND_DASHES and not before[-2:-1].isspace():
        return True
    return _is_wide(before[-1:]) and _is_wide(after[:1])


def _is_wide(character: str) -> bool:
    return bool(character) and unicodedata.east_asian_width(character) in "WF"


class _Break(NamedTuple):
    """A hyphen at the end of a line, and the word halves on both sides of it."""

    place: int
    left: str
    right: str
    before: str
    """The character before the left half; a hyphen if the word has several."""


def mark_broken_words(text: str) -> str:
    """Replace hyphens that only break a word by soft hyphens, which are removed when lines are joined."""
    breaks = [_break(text, found) for found in _BROKEN.finditer(text)]
    if not breaks:
        return text
    pairs = [(one.left.casefold(), one.right.casefold()) for one in breaks]
    words = _count(text, pairs)
    hyphenates = _breaks_words(pairs, words)
    parts: list[str] = []
    end = 0
    for one, pair in zip(breaks, pairs, strict=True):
        keeps = (
            one.before in {"-", "\u2010"}
            or (one.right[0].isupper() and not one.left.isupper())
            or _is_compound(*pair, words, hyphenates)
        )
        if not keeps:
            parts.extend((text[end : one.place], SOFT_HYPHEN))
            end = one.place + 1
    return "".join((*parts, text[end:]))


def _break(text: str, found: re.Match[str]) -> _Break:
    start = max(0, found.start() - _LONGEST_HALF)
    last = _LAST_WORD.search(text[start : found.start()])
    left = last[0] if last else ""
    before = found.start() - len(left)
    return _Break(found.start(), left, found[1], text[before - 1 : before])


def _count(text: str, pairs: list[tuple[str, str]]) -> Counter[str]:
    """Count each form that these words may have in the text: joined, hyphenated, or as two words."""
    wanted = {form for left, right in pairs for form in (left + right, f"{left}-{right}", left, right)}
    found = _WORD.findall(text.casefold().replace("\u2010", "-"))
    words = Counter(word for word in found if word in wanted)
    # Halves of broken words are not words. The rest is how the text writes them elsewhere.
    words.subtract(half for pair in pairs for half in pair)
    return words


def drop_soft_hyphens(text: str) -> Edit:
    """Remove soft hyphens, which show only at the end of a line, and join the word."""
    if SOFT_HYPHEN not in text:
        return Edit(text)
    whole, places = re.subn(r"\u00ad(?:[ \t]*\n[ \t]*(?=\w))?", "", text)
    place = text.index(SOFT_HYPHEN)
    start = max(0, place - 60)
    before = text[start : place + 60].replace(SOFT_HYPHEN, "-\n", 1).replace("\n\n", "\n")
    return Edit(
        whole, places, before.replace(SOFT_HYPHEN, "-"), text[start : place + 60].replace(SOFT_HYPHEN, "")
    )


def _breaks_words(broken: list[tuple[str, str]], words: Counter[str]) -> bool:
    """Return whether the lines were broken within words too, and not only at the hyphens of compounds."""
    balance = sum(_leaning(*pair, words) for pair in broken)
    if balance:
        return balance > 0
    strange = sum(not _leaning(*pair, words) and not _are_words(*pair, words) for pair in broken)
    return strange >= _MIN_STRANGE and strange * 2 > len(broken)


def _are_words(left: str, right: str, words: Counter[str]) -> bool:
    return all(len(half) >= _SHORTEST_WORD_OF_A_COMPOUND and words[half] > 0 for half in (left, right))


def _leaning(left: str, right: str, words: Counter[str]) -> int:
    """Return 1 if the text writes the word joined elsewhere, -1 if hyphenated, else 0."""
    joined, hyphenated = words[left + right], words[f"{left}-{right}"]
    return (joined > hyphenated) - (joined < hyphenated)


def _is_compound(left: str, right: str, words: Counter[str], hyphenates: bool) -> bool:
    """Return whether a word is a compound, by how the text writes it elsewhere, else by its halves."""
    if leaning := _leaning(left, right, words):
        return leaning < 0
    if _are_words(left, right, words):
        return True
    return not hyphenates
