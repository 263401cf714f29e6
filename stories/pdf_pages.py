"""Run as a program: writes the text of a PDF file, page by page, to its standard output.

`python -m stories.pdf_pages FILE`. Each page ends with a form feed. The exit status says why it stopped.
It is a program of its own because PDF files are read by a library in C++: what crashes it, hangs it or fills
the memory must not take the run with it.
"""

import contextlib
import ctypes
import enum
import re
import resource
import sys
from collections.abc import Iterator

import pypdfium2
from pypdfium2 import raw

from stories.layout import Layout, Line

PAGE_END = "\f"
MOST_PAGES = 5000
LARGEST_TEXT_BYTES = 50 * 1024**2
MEMORY_BYTES = 1024**3
WIDE_GAP = 1.0
"""Of a line's height: no gap between words is as wide, unless something else begins there."""
_LINE_ENDS = re.compile("\r\n?|\n|[\ufffe\x02]")
# What pdfium puts in place of a hyphen at the end of a line.
_HYPHENS = "\ufffe\x02"


class Stopped(enum.IntEnum):
    """Exit statuses."""

    AT_THE_END = 0
    PASSWORD = 3
    DAMAGED = 4
    PAGES = 5
    TEXT = 6


def main(path: str) -> Stopped:
    """Write a file's text and return why it ended."""
    with contextlib.suppress(ValueError, OSError):  # macOS sets no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        document = pypdfium2.PdfDocument(path)
        if len(document) > MOST_PAGES:
            return Stopped.PAGES
        written = 0
        for text in _pages(document):
            data = (text + PAGE_END).encode("utf-8", "replace")
            written += len(data)
            if written > LARGEST_TEXT_BYTES:
                return Stopped.TEXT
            sys.stdout.buffer.write(data)
    except pypdfium2.PdfiumError as error:
        asks = getattr(error, "err_code", None) in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}
        return Stopped.PASSWORD if asks else Stopped.DAMAGED
    return Stopped.AT_THE_END


def _pages(document: pypdfium2.PdfDocument) -> Iterator[str]:
    layout = Layout()
    for number in range(len(document)):
        page = document[number]
        text_page = page.get_textpage()
        try:
            yield layout.page_text(list(_lines(text_page)))
        finally:
            text_page.close()
            page.close()


def _lines(page: pypdfium2.PdfTextPage) -> Iterator[Line]:
    count = page.count_chars()
    text = page.get_text_range() if count else ""
    if len(text) != count:
        # Signs beyond the first 65,536 take two places in one and one in the other.
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
    """Part what stands in one row but far apart, such as the lines of two columns."""
    space = text.find(" ", begin + 1, stop - 1)
    while space > 0:
        # The document's own spaces are narrow; those that pdfium puts in stand for a gap of any width.
        if raw.FPDFText_IsGenerated(page, space) == 1 and text[begin:space].strip():
            before, after = _box(page, space - 1), _box(page, space + 1)
            if after.left - before.right > WIDE_GAP * (before.top - before.bottom):
                yield begin, space
                begin = space + 1
        space = text.find(" ", space + 1, stop - 1)
    yield begin, stop


def _line(page: pypdfium2.PdfTextPage, text: str, begin: int, stop: int, hyphen: str = "") -> Line:
    content = text[begin:stop]
    first = begin + len(content) - len(content.lstrip())
    last = stop - 1 - (len(content) - len(content.rstrip()))
    start, end = _box(page, first), _box(page, last)
    return Line(content.strip() + hyphen, start.left, end.right, start.bottom, start.top)


def _box(page: pypdfium2.PdfTextPage, index: int) -> raw.FS_RECTF:
    # With the font's whole height, so that a line's box does not depend on which letters are in it.
    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(page, index, ctypes.byref(box))
    return box


def _character(page: pypdfium2.PdfTextPage, index: int) -> str:
    code = raw.FPDFText_GetUnicode(page, index)
    return chr(code) if 0 < code <= sys.maxunicode else " "


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
