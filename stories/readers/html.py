"""Web pages: .html, .htm and .xhtml."""

import re
from collections.abc import Iterator
from typing import IO

from stories.encoding import decode
from stories.errors import UnreadableError
from stories.markup import read_page
from stories.readers import Draft, Flaw, read_whole
from stories.structure import notes_left_out, to_drafts

SUFFIXES = (".html", ".htm", ".xhtml")

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w:.-]+)""", re.I)
_DECLARED_WITHIN_BYTES = 4096
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def read(stream: IO[bytes], name: str) -> Iterator[Draft | Flaw]:
    """Yield the stories of a page: what stands in its menus, banners and scripts is not read."""
    del name
    source = _decode(read_whole(stream))
    page = read_page(source)
    if not page.blocks:
        raise UnreadableError(
            "The page has no text of its own; a program in it would fetch that from elsewhere.",
            "Open it in a browser, copy the story into an editor and save it as plain text (.txt).",
        )
    yield from to_drafts(page.blocks, page.title, page.unused)
    yield from notes_left_out(page.notes)


def _decode(data: bytes) -> str:
    """Decode a page; what it declares counts where it is neither Unicode nor wrong about itself."""
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
