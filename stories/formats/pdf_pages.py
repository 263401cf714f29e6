"""Extract the text of a PDF file page by page, with the positions of its lines.

The library for it, pdfium, is written in C++ and a file may crash it, so untrusted files are read in a
separate process (`stories.reading.sandbox`).
"""

import ctypes
import re
import sys
from collections.abc import Iterator
from typing import IO

import pypdfium2
from pypdfium2 import raw

from stories.formats.page_layout import PageLayout, TextLine

WIDE_GAP = 1.0
"""Share of a line's height. A wider gap separates columns, not words."""
_LINE_ENDS = re.compile("\r\n?|\n|[\ufffe\x02]")
# pdfium's replacements for a hyphen at the end of a line.
_HYPHENS = "\ufffe\x02"
_NOT_SPACE = re.compile(r"\S")


class LockedError(Exception):
    """The document is protected by a password."""


class DamagedError(Exception):
    """The file is damaged, or not a PDF document."""


class TooManyPagesError(Exception):
    """The document has more pages than the limit."""


def read_pages(stream: IO[bytes], max_pages: int) -> Iterator[str]:
    """Yield the text of each page.

    Args:
        stream: a PDF file, seekable.
        max_pages: how many pages the document may have.

    Raises:
        LockedError: the document is protected by a password.
        DamagedError: the file is damaged, or not a PDF document.
        TooManyPagesError: the document has more than `max_pages`.
    """
    try:
        document = pypdfium2.PdfDocument(stream)
        try:
            if len(document) > max_pages:
                raise TooManyPagesError
            yield from _pages(document)
        finally:
            document.close()
    except pypdfium2.PdfiumError as error:
        is_locked = getattr(error, "err_code", None) in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}
        raise (LockedError if is_locked else DamagedError) from error


def _pages(document: pypdfium2.PdfDocument) -> Iterator[str]:
    layout = PageLayout()
    for number in range(len(document)):
        page = document[number]
        text_page = page.get_textpage()
        try:
            yield layout.page_text(list(_lines(text_page)))
        finally:
            text_page.close()
            page.close()


def _lines(page: pypdfium2.PdfTextPage) -> Iterator[TextLine]:
    count = page.count_chars()
    text = page.get_text_range() if count else ""
    if len(text) != count:
        # Characters beyond the first 65,536 count twice in one figure and once in the other.
        text = "".join(_character(page, index) for index in range(count))
    begin = 0
    for end in [*_LINE_ENDS.finditer(text), None]:
        stop = end.start() if end else len(text)
        hyphen = "-" if end and end[0] in _HYPHENS else ""
        *pieces, last = _pieces(page, text, begin, stop)
        yield from (_line(page, text, *piece) for piece in pieces)
        if text[slice(*last)].strip():
            yield _line(page, text, *last, hyphen)
        begin = end.end() if end else stop


def _pieces(page: pypdfium2.PdfTextPage, text: str, begin: int, stop: int) -> Iterator[tuple[int, int]]:
    """Split a row at wide gaps, as between the lines of two columns."""
    space = text.find(" ", begin + 1, stop - 1)
    first = _NOT_SPACE.search(text, begin, stop)
    while space > 0 and first:
        # Spaces of the document are narrow; spaces that pdfium generates stand for a gap of any width.
        if first.start() < space and raw.FPDFText_IsGenerated(page, space) == 1:
            before, after = _box(page, space - 1), _box(page, space + 1)
            if after.left - before.right > WIDE_GAP * (before.top - before.bottom):
                yield begin, space
                begin = space + 1
                first = _NOT_SPACE.search(text, begin, stop)
        space = text.find(" ", space + 1, stop - 1)
    yield begin, stop


def _line(page: pypdfium2.PdfTextPage, text: str, begin: int, stop: int, hyphen: str = "") -> TextLine:
    content = text[begin:stop]
    first = begin + len(content) - len(content.lstrip())
    last = stop - 1 - (len(content) - len(content.rstrip()))
    start, end = _box(page, first), _box(page, last)
    return TextLine(content.strip() + hyphen, start.left, end.right, start.bottom, start.top)


def _box(page: pypdfium2.PdfTextPage, index: int) -> raw.FS_RECTF:
    # The loose box has the font's full height, so that a line's box does not depend on its letters.
    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(page, index, ctypes.byref(box))
    return box


def _character(page: pypdfium2.PdfTextPage, index: int) -> str:
    code = raw.FPDFText_GetUnicode(page, index)
    return chr(code) if 0 < code <= sys.maxunicode else " "
