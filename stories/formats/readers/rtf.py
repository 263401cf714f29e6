"""Read rich text (.rtf) as plain text with its paragraphs; chapters are found later."""

import re
from collections.abc import Iterator
from typing import IO

from striprtf.striprtf import rtf_to_text

from stories.formats.detection import read_whole
from stories.records import RawStory, UnreadableError, UnusablePart

SUFFIXES = (".rtf",)

_LARGEST_TEXT_CHARACTERS = 20 * 1024 * 1024
# Pictures are hundreds of thousands of hexadecimal digits; no word is that long.
_PICTURE = re.compile(r"[0-9a-fA-F\r\n]{256,}")
_FONT_TABLE = re.compile(r"\{[^{}]*\\fonttbl", re.I)
_LINK = re.compile(r"\\fldinst\{", re.I)
_BRACE = re.compile(r"[{}]")
_FONT = re.compile(r"\\f(?P<number>\d{1,5})(?!\d)")
_CHARSET = re.compile(r"\\fcharset(?P<number>\d{1,3})(?!\d)")
_LONGEST_FONT_CHARACTERS = 1000
_LINE = re.compile(r"\\(?:line|softline)(?![a-z]) ?")
_LINE_SEPARATOR = "\u2028"
_SAVE_AS_TEXT = "Open it in a word processor and save it as .docx or as plain text (.txt)."


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the text of a document as one story."""
    del name
    data = read_whole(stream)
    if not data.lstrip().startswith(b"{\\rtf"):
        raise UnreadableError("It is not a rich text document, although its name says so.", _SAVE_AS_TEXT)
    # The format escapes everything beyond ASCII; some programs write raw bytes of their code page.
    source = _PICTURE.sub("", data.decode("cp1252", errors="ignore"))
    if len(source) > _LARGEST_TEXT_CHARACTERS:
        limit = _LARGEST_TEXT_CHARACTERS // 1024**2
        raise UnreadableError(
            f"It holds more than {limit} MB of formatted text.",
            "Split it into several files, for instance by chapter.",
        )
    yield RawStory(_to_text(source))


def _to_text(source: str) -> str:
    # striprtf converts line breaks and paragraph ends alike, so line breaks are marked.
    source = _LINE.sub(r"\\uc1\\u8232 ?", source)
    # The space keeps a link's address out of the text, and keeps striprtf from searching for links, which
    # takes cubic time in a line's length.
    source = _LINK.sub(r"\\fldinst {", source)
    source = _with_plain_fonts(source)
    try:
        text: str = rtf_to_text(source, errors="replace")  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, IndexError, OverflowError, RecursionError, TypeError) as error:
        raise UnreadableError("The rich text document is damaged.", _SAVE_AS_TEXT) from error
    return re.sub(r"\n+", "\n\n", text.replace("\r", "")).replace(_LINE_SEPARATOR, "\n").strip()


def _with_plain_fonts(source: str) -> str:
    """Reduce the font table to the number and code page of each font.

    striprtf needs no more of it, and would take hours on a malicious table.
    """
    found = _FONT_TABLE.search(source)
    if not found:
        return source
    depth, end = 0, len(source)
    for brace in _BRACE.finditer(source, found.start()):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            end = brace.end()
            break
    fonts: list[str] = []
    for entry in source[found.end() : end].split(";"):
        font = _FONT.search(entry[:_LONGEST_FONT_CHARACTERS])
        charset = _CHARSET.search(entry[:_LONGEST_FONT_CHARACTERS])
        if font and charset:
            fonts.append(f"{{\\f{font['number']}\\fcharset{charset['number']} any;}}")
    return f"{source[: found.start()]}{{\\fonttbl{''.join(fonts)}}}{source[end:]}"
