"""Join lines that were broken only because the next word did not fit; keep the lines of verse and letters."""

import itertools
import re
import unicodedata

from stories.cleaning.ledger import Edit

_PARAGRAPH_END = re.compile(r"\n{2,}")
_LONGER_GAP = re.compile(r"\n{3,}")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•+]|\d{1,3}[.)])\s")
_INDENTED = re.compile(r"^(?: {2,}|\t)\S")
# RFC 3676: a line that ends with a space continues in the next one. The PDF reader marks full lines like this;
# in other files such spaces mean nothing.
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
