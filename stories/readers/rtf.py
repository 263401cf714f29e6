"""Rich text (.rtf): its words and paragraphs; chapters are found in them afterwards."""

import re
from collections.abc import Iterator
from typing import IO

from striprtf.striprtf import rtf_to_text

from stories.errors import UnreadableError
from stories.readers import Draft, Flaw, read_whole

SUFFIXES = (".rtf",)

_LARGEST_TEXT_CHARACTERS = 20 * 1024 * 1024
# Pictures are hundreds of thousands of hexadecimal digits, which no word is.
_PICTURE = re.compile(r"[0-9a-fA-F\r\n]{256,}")
_LINE = re.compile(r"\\(?:line|softline)(?![a-z]) ?")
_LINE_SEPARATOR = "\u2028"
_SAVE_AS_TEXT = "Open it in a word processor and save it as .docx or as plain text (.txt)."


def read(stream: IO[bytes], name: str) -> Iterator[Draft | Flaw]:
    """Yield the one text of a document."""
    del name
    data = read_whole(stream)
    if not data.lstrip().startswith(b"{\\rtf"):
        raise UnreadableError("It is no rich text document, whatever its name says.", _SAVE_AS_TEXT)
    # Everything beyond ASCII is escaped; a byte that is not comes from a careless program, in its code page.
    source = _PICTURE.sub("", data.decode("cp1252", errors="ignore"))
    if len(source) > _LARGEST_TEXT_CHARACTERS:
        limit = _LARGEST_TEXT_CHARACTERS // 1024**2
        raise UnreadableError(
            f"It holds more than {limit} MB of formatted text.",
            "Split it into several files, for instance by chapter.",
        )
    yield Draft(_to_text(source))


def _to_text(source: str) -> str:
    # A line break inside a paragraph and a paragraph's end come out alike, so the first is marked.
    source = _LINE.sub(r"\\uc1\\u8232 ?", source)
    # The space keeps the address behind a link out of the text.
    source = source.replace("\\fldinst{", "\\fldinst {")
    try:
        text: str = rtf_to_text(source, errors="replace")  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, IndexError, OverflowError, RecursionError, TypeError) as error:
        raise UnreadableError("It is a damaged rich text document.", _SAVE_AS_TEXT) from error
    return re.sub(r"\n+", "\n\n", text.replace("\r", "")).replace(_LINE_SEPARATOR, "\n").strip()
