"""Make the smallest documents of each format by hand, so that tests can also make wrong ones."""

import zlib
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from tests.unit.stories.material import zipped

_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
_ODF = "urn:oasis:names:tc:opendocument:xmlns"


def docx(text: str, *, prolog: str = "", extra: Mapping[str, bytes] | None = None) -> bytes:
    """Make a Word document; `prolog` comes before its root element, `extra` replaces or adds files."""
    paragraphs = "".join(f"<w:p><w:r><w:t>{part}</w:t></w:r></w:p>" for part in _escaped(text))
    body = f'<w:document xmlns:w="{_W}"><w:body>{paragraphs}</w:body></w:document>'
    relation = f'<Relationship Id="a" Type="{_OFFICE_DOCUMENT}" Target="word/document.xml"/>'
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    files = {
        "[Content_Types].xml": f'{_XML}<Types xmlns="{types}"/>'.encode(),
        "_rels/.rels": f'{_XML}<Relationships xmlns="{_RELATIONS}">{relation}</Relationships>'.encode(),
        "word/document.xml": f"{_XML}{prolog}{body}".encode(),
    }
    return zipped(files | dict(extra or {}))


def epub(
    text: str,
    *,
    prolog: str = "",
    pages: Sequence[str] = ("page.xhtml",),
    extra: Mapping[str, bytes] | None = None,
) -> bytes:
    """Make an e-book of one page, which its spine lists once for each of `pages`."""
    paragraphs = "".join(f"<p>{part}</p>" for part in _escaped(text))
    xhtml = f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{paragraphs}</body></html>'
    items = "".join(
        f'<item id="i{number}" href="{page}" media-type="application/xhtml+xml"/>'
        for number, page in enumerate(pages)
    )
    spine = "".join(f'<itemref idref="i{number}"/>' for number in range(len(pages)))
    package = (
        f'<package xmlns="http://www.idpf.org/2007/opf"><metadata/><manifest>{items}</manifest>'
        f"<spine>{spine}</spine></package>"
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="book.opf"/></rootfiles></container>'
    )
    files = {
        "mimetype": b"application/epub+zip",
        "META-INF/container.xml": (_XML + container).encode(),
        "book.opf": f"{_XML}{prolog}{package}".encode(),
        "page.xhtml": f"{_XML}{prolog}{xhtml}".encode(),
    }
    return zipped(files | dict(extra or {}))


def odt(text: str, *, prolog: str = "") -> bytes:
    """Make a LibreOffice document."""
    return odt_of("".join(f"<text:p>{part}</text:p>" for part in _escaped(text)), prolog=prolog)


def odt_of(body: str, *, prolog: str = "") -> bytes:
    """Make a LibreOffice document of the XML in its body."""
    content = (
        f'<office:document-content xmlns:office="{_ODF}:office:1.0" xmlns:text="{_ODF}:text:1.0">'
        f"<office:body><office:text>{body}</office:text></office:body></office:document-content>"
    )
    files = {
        "mimetype": b"application/vnd.oasis.opendocument.text",
        "content.xml": f"{_XML}{prolog}{content}".encode(),
    }
    return zipped(files)


def rtf(text: str) -> bytes:
    """Make a rich text document."""
    escaped = "".join(
        character if character.isascii() else f"\\u{ord(character)}?"
        for character in text
        if character < "\uffff"
    )
    return ("{\\rtf1\\ansi " + escaped.replace("\n\n", "\\par\n") + "\\par}").encode()


def html(text: str) -> bytes:
    """Make a web page."""
    paragraphs = "".join(f"<p>{part}</p>\n" for part in _escaped(text))
    return (
        f"<!DOCTYPE html>\n<html><head><title>A page</title></head><body>{paragraphs}</body></html>".encode()
    )


def pdf(text: str, *, is_picture: bool = False, trailer: bytes = b"") -> bytes:
    """Make a PDF of one page: of text, or of a picture only, as scanners do."""
    if is_picture:
        return pdf_drawn(b"q 400 0 0 600 50 50 cm /Picture Do Q", trailer)
    lines = [part[start : start + 80] for part in text.split("\n\n") for start in range(0, len(part), 80)]
    shown = b"".join(f"({_pdf_escaped(line)}) Tj T*\n".encode("latin-1", "replace") for line in lines)
    return pdf_drawn(b"BT /F 9 Tf 12 TL 40 800 Td\n" + shown + b"ET", trailer)


def pdf_drawn(drawn: bytes, trailer: bytes = b"") -> bytes:
    """Make a PDF of one page, drawn as given, with a font `/F` and a picture `/Picture`."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F 5 0 R >> /XObject << /Picture 6 0 R >> >> >>",
        _pdf_stream(b"", drawn),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        _pdf_stream(
            b"/Type /XObject /Subtype /Image /Width 64 /Height 64 /BitsPerComponent 8 "
            b"/ColorSpace /DeviceGray",
            bytes(64 * 64),
        ),
    ]
    return pdf_of(objects, trailer)


def pdf_of(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """Make a PDF from its objects, of which the first is the catalogue."""
    made = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        trailer,
        start,
    )
    return bytes(made)


def _pdf_stream(dictionary: bytes, content: bytes) -> bytes:
    packed = zlib.compress(content)
    return b"<< %s /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (
        dictionary,
        len(packed),
        packed,
    )


def _pdf_escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _escaped(text: str) -> list[str]:
    return [escape(part) for part in text.split("\n\n")]
