"""Read web pages: .html, .htm and .xhtml."""

import re
from collections.abc import Iterator
from typing import IO

from stories.encoding import decode
from stories.errors import UnreadableError
from stories.markup import parse_html
from stories.readers import RawStory, UnusablePart, read_whole
from stories.structure import omitted_notes, split_at_headings

SUFFIXES = (".html", ".htm", ".xhtml")

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w:.-]+)""", re.I)
_DECLARED_WITHIN_BYTES = 4096
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the stories of a page, without its menus, banners and scripts."""
    del name
    source = _decode(read_whole(stream))
    page = parse_html(source)
    if not page.blocks:
        raise UnreadableError(
            "The page has no text of its own; a program in it would fetch that from elsewhere.",
            "Open it in a browser, copy the story into an editor and save it as plain text (.txt).",
        )
    yield from split_at_headings(page.blocks, page.title, page.unused)
    yield from omitted_notes(page.notes)


def _decode(data: bytes) -> str:
    """Decode a page, by its declared encoding unless it is Unicode or the declaration is wrong."""
    declared = _DECLARED.search(data[:_DECLARED_WITHIN_BYTES])
    if declared and not data.startswith(_MARKS) and b"\0" not in data:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            try:
                return data.decode(declared[1].decode("ascii"))
            except (UnicodeError, LookupError):
                pass
    return decode(data)
