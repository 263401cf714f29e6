"""Makes text whole: mojibake mended, NFC, hard-wrapped lines joined, verse and typography left alone."""

import itertools
import re
import unicodedata

import ftfy

# Only damage is mended. What an author may have meant (curly quotes, ligatures, wide letters) stays.
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,
    uncurl_quotes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    explain=False,
)
_INVISIBLE = str.maketrans(dict.fromkeys("\u00ad\u200b\u2060\ufeff\ufffe\uffff"))
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_PARAGRAPH_END = re.compile(r"\n{2,}")
_GUTENBERG_START = re.compile(r"^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG .*$", re.M | re.I)
_GUTENBERG_END = re.compile(r"^\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG .*$", re.M | re.I)
_LIST_ITEM = re.compile(r"^\s*(?:[-*•+]|\d{1,3}[.)])\s")
_INDENTED = re.compile(r"^(?: {2,}|\t)\S")

_HYPHENS_AND_DASHES = "-\u2010\u2013\u2014"

_NARROWEST_WRAP = 55
_WIDEST_WRAP = 100
_UNEVEN_WRAP = 10
_WRAPPED_SHARE = 0.7
_LONG_LINES_SHARE = 0.1
_MOST_PASSES = 10


def clean(text: str) -> str:
    """Return the text with damage mended; cleaning what is clean changes nothing.

    Paragraphs end with one empty line; lines within a paragraph stay only where they mean something.
    """
    for _ in range(_MOST_PASSES):
        cleaned = _clean_once(text)
        if cleaned == text:
            break
        text = cleaned
    return text


def _clean_once(text: str) -> str:
    text = _one_kind_of_line_end(text)
    text = ftfy.fix_text(text, _FTFY).translate(_INVISIBLE)
    text = _CONTROLS.sub("", _one_kind_of_line_end(text))
    text = _without_gutenberg_notices(unicodedata.normalize("NFC", text))
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return _tidy(_unwrap(text))


def _one_kind_of_line_end(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\f", "\n\n").replace("\u2029", "\n\n")
    return re.sub("[\r\v\x85\u2028]", "\n", text)


def _without_gutenberg_notices(text: str) -> str:
    start = _GUTENBERG_START.search(text)
    end = _GUTENBERG_END.search(text, start.end() if start else 0)
    return text[start.end() if start else 0 : end.start() if end else len(text)]


def _tidy(text: str) -> str:
    paragraphs = _PARAGRAPH_END.split(text.strip())
    # A single line has no shape for its indentation to be part of; lines of verse do.
    return "\n\n".join(part if "\n" in part else part.strip() for part in paragraphs).strip()


def _unwrap(text: str) -> str:
    """Join the lines that were broken only because the next word did not fit."""
    lines = [line for line in text.split("\n") if line]
    fitting = [len(line) for line in lines if len(line) <= _WIDEST_WRAP]
    width = max(fitting, default=0)
    if width < _NARROWEST_WRAP or len(lines) - len(fitting) > len(lines) * _LONG_LINES_SHARE:
        return text
    blocks = _PARAGRAPH_END.split(text.strip("\n"))
    return "\n\n".join(_unwrap_block(block.split("\n"), width) for block in blocks)


def _unwrap_block(lines: list[str], width: int) -> str:
    parts = _split_at_indents(lines)
    if not any(_is_wrapped(part, width) for part in parts):
        return "\n".join(lines)
    return "\n\n".join(_join(part) if _is_wrapped(part, width) else "\n".join(part) for part in parts)


def _split_at_indents(lines: list[str]) -> list[list[str]]:
    """Split a block whose paragraphs begin with an indentation in place of an empty line."""
    starts = [number for number, line in enumerate(lines) if number and _INDENTED.match(line)]
    if not starts or len(starts) + 1 > len(lines) / 2:
        return [lines]
    edges = [0, *starts, len(lines)]
    return [lines[begin:end] for begin, end in itertools.pairwise(edges)]


def _is_wrapped(lines: list[str], width: int) -> bool:
    if len(lines) < 2 or any(_LIST_ITEM.match(line) for line in lines[1:]):
        return False
    capitals = sum(_begins_with_capital(line) for line in lines[1:])
    # Lines of verse begin with capitals. Prose has few there, and people and programs wrap it unevenly.
    room = width if capitals * 2 > len(lines) - 1 else width - _UNEVEN_WRAP
    full = sum(
        len(line) + 1 + len(following.split()[0]) > room for line, following in itertools.pairwise(lines)
    )
    return full >= (len(lines) - 1) * _WRAPPED_SHARE


def _begins_with_capital(line: str) -> bool:
    return next((character.isupper() for character in line if character.isalnum()), False)


def _join(lines: list[str]) -> str:
    joined = lines[0].strip()
    for line in lines[1:]:
        following = line.strip()
        joined += ("" if _needs_no_space(joined, following) else " ") + following
    return joined


def _needs_no_space(before: str, after: str) -> bool:
    # A word broken at its hyphen or dash has no space there; Chinese and Japanese have none anywhere.
    if before[-1:] in _HYPHENS_AND_DASHES and not before[-2:-1].isspace():
        return True
    return _is_wide(before[-1:]) and _is_wide(after[:1])


def _is_wide(character: str) -> bool:
    return bool(character) and unicodedata.east_asian_width(character) in "WF"
