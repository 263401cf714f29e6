"""Documents that are damaged, locked or malicious, and files with a wrong suffix."""

from random import Random

from tests.unit.stories import documents
from tests.unit.stories.bad_files.kind import PARAGRAPH, STORY, always, as_json, noise, refused, used, utf8
from tests.unit.stories.material import prose, zipped

_BOMB = "<!DOCTYPE w [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + level)} '{f'&{chr(97 + level)};' * 20}'>" for level in range(9)
)
ENTITY_BOMB = f"{_BOMB}]>\n"
OUTSIDE_ENTITY = '<!DOCTYPE w [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n'
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)


def _endless_pdf() -> bytes:
    return documents.pdf_of(
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R] /Count 9 >>"]
    )


def _locked_pdf() -> bytes:
    locked = b"/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <%s> /U <%s> >> /ID [<00><00>]"
    return documents.pdf(STORY, trailer=locked % (b"41" * 32, b"42" * 32))


def _repeating_epub() -> bytes:
    """Make an e-book whose spine lists one page of 3 MB a thousand times, 3 GB in all."""
    random = Random(5)  # noqa: S311
    page = "".join(f"<p>{PARAGRAPH} {random.randbytes(8).hex()}</p>" for _ in range(8_000))
    return documents.epub(
        STORY,
        pages=["large.xhtml"] * 1000,
        extra={"large.xhtml": f"<html><body>{page}</body></html>".encode()},
    )


def _endless_epub() -> bytes:
    """Make an e-book whose pages unpack to more text than the limit."""
    random = Random(6)  # noqa: S311
    page = (
        b"<!--" + b"".join(random.randbytes(50).hex().encode() + b" " * 1500 for _ in range(29_000)) + b"-->"
    )
    return documents.epub(STORY, pages=["a.xhtml", "b.xhtml"], extra={"a.xhtml": page, "b.xhtml": page})


WRONG_ENDINGS = [
    used("Word document named .txt", "novel.txt", lambda: documents.docx(STORY), holds=STORY[:40]),
    used("e-book named .zip", "novel.zip", lambda: documents.epub(STORY), holds=STORY[:40]),
    used("rich text named .doc", "novel.doc", lambda: documents.rtf(STORY), holds=STORY[:40]),
    used("web page named .txt", "page.txt", lambda: documents.html(STORY), holds=STORY[:40]),
    used("PDF named .docx", "novel.docx", lambda: documents.pdf(STORY), holds=STORY[:40]),
    used("zip named .txt", "novel.txt", lambda: zipped({"a.txt": STORY.encode()}), holds=STORY[:40]),
    used("plain text named .docx", "plain.docx", utf8(STORY), holds=STORY[:40]),
    used("JSON Lines named .json", "a.json", lambda: b'{"text": "%s"}\n' % PARAGRAPH.encode() * 2, stories=2),
    used("JSON list named .jsonl", "a.jsonl", as_json([{"text": STORY}, {"text": prose(2)}]), stories=2),
    refused("program named .txt", "a.txt", always(b"\x7fELF\x02\x01\x01" + bytes(99)), "a program"),
    refused("photo named .txt", "a.txt", always(b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(99)), "a picture"),
    refused("photo named .pdf", "a.pdf", always(b"\x89PNG\r\n\x1a\n" + bytes(99)), "a picture"),
    refused("gzip named .txt", "a.txt", always(b"\x1f\x8b\x08" + bytes(99)), "gzip"),
    refused(
        "Word 97 named .docx", "a.docx", lambda: _OLD_OFFICE + "WordDocument".encode("utf-16-le"), ".doc"
    ),
    refused(
        "locked Word", "a.docx", lambda: _OLD_OFFICE + "EncryptedPackage".encode("utf-16-le"), "password"
    ),
    refused("Excel", "a.xlsx", lambda: zipped({"xl/workbook.xml": b"<x/>"}), "Excel"),
    refused("Pages", "a.pages", lambda: zipped({"Index/Document.iwa": b"x"}), "Pages"),
    refused("Kindle book", "a.mobi", always(b"Novel".ljust(60, b"\0") + b"BOOKMOBI" + bytes(99)), "Kindle"),
    refused("noise named .docx", "a.docx", lambda: b"\x01\x02" + noise(9000), "does not hold that format"),
]
DOCUMENTS = [
    refused(
        "Word with an entity bomb", "a.docx", lambda: documents.docx("&j;", prolog=ENTITY_BOMB), "entities"
    ),
    refused(
        "e-book with an entity bomb", "a.epub", lambda: documents.epub("&j;", prolog=ENTITY_BOMB), "entities"
    ),
    refused(
        "OpenDocument with an entity bomb",
        "a.odt",
        lambda: documents.odt("&j;", prolog=ENTITY_BOMB),
        "entities",
    ),
    refused(
        "Word that asks for a file outside",
        "a.docx",
        lambda: documents.docx("&a;" * 20, prolog=OUTSIDE_ENTITY),
        "entities",
    ),
    refused(
        "Word with a bomb inside",
        "a.docx",
        lambda: documents.docx(STORY, extra={"word/document.xml": b"<a>" + b" " * 30_000_000 + b"</a>"}),
        "bomb",
    ),
    refused("Word cut short", "a.docx", lambda: documents.docx(STORY)[:-300], "damaged"),
    refused("Word without text", "a.docx", lambda: documents.docx(""), "no text"),
    refused(
        "e-book without its pages", "a.epub", lambda: documents.epub(STORY, pages=["gone.xhtml"]), "missing"
    ),
    refused(
        "e-book that leads outside",
        "a.epub",
        lambda: documents.epub(STORY, pages=["../../../etc/passwd"]),
        "missing",
    ),
    used("e-book that names a page a thousand times", "a.epub", _repeating_epub, holds=PARAGRAPH[:40]),
    refused("e-book of more text than any book", "a.epub", _endless_epub, "unpacks to more than 64 MB"),
    refused("rich text cut short", "a.rtf", lambda: b"{\\rtf1", "words"),
    refused("rich text nested without end", "a.rtf", lambda: b"{\\rtf1" + b"{" * 200_000, "words"),
    refused("encrypted PDF", "a.pdf", _locked_pdf, "password"),
    refused("scanned PDF", "a.pdf", lambda: documents.pdf("", is_picture=True), "picture"),
    refused("PDF cut short", "a.pdf", lambda: documents.pdf(STORY)[:300], "damaged"),
    refused("PDF that contains itself", "a.pdf", _endless_pdf, ""),
    refused(
        "web page that is only a program",
        "a.html",
        lambda: b"<!DOCTYPE html><html><body><script>%s</script></body></html>" % STORY.encode(),
        "no text of its own",
    ),
    refused(
        "web page nested without end",
        "a.html",
        lambda: b"<div>" * 500_000 + f"<p>{STORY}".encode(),
        "nested far deeper",
    ),
    refused(
        "web page of fonts never closed",
        "a.html",
        lambda: b"".join(b"<font size=%d>" % n for n in range(2000)) + b"<p>word" * 20_000,
        "nested far deeper",
    ),
    used(
        "web page that is never closed",
        "a.html",
        f"<html><body><p>{STORY}".encode,
        holds=STORY[:40],
    ),
]
