"""Files of each format that repeat, nest or do not close what its reader looks for."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from tests.unit.stories import documents
from tests.unit.stories.growth.texts import LINE, counted, repeated
from tests.unit.stories.material import zipped

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PARAGRAPH = f"<p>{LINE}</p>"


@dataclass(frozen=True)
class Files:
    """One kind of file."""

    name: str
    make: Callable[[int], bytes]


def _html(make: Callable[[int], str]) -> Files:
    return Files(
        "a.html", lambda size: f"<html><body>{_PARAGRAPH}{make(size)}{_PARAGRAPH}</body></html>".encode()
    )


def _text(name: str, make: Callable[[int], str], before: str = "", after: str = "") -> Files:
    return Files(name, lambda size: f"{before}{make(size)}{after}".encode("utf-8", "surrogatepass"))


def _nested(opened: str, closed: str = "") -> Callable[[int], str]:
    def make(size: int) -> str:
        count = size // (len(opened) + len(closed))
        return opened * count + LINE + closed * count

    return make


def _stored(packed: bytes) -> bytes:
    """Pack a zip's files again without compression, because repeats would count as a zip bomb."""
    anew = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive, zipfile.ZipFile(anew, "w") as stored:
        for entry in archive.infolist():
            stored.writestr(entry.filename, archive.read(entry))
    return anew.getvalue()


def _docx(make: Callable[[int], str]) -> Files:
    def packed(size: int) -> bytes:
        body = f'<w:document xmlns:w="{_W}"><w:body>{make(size)}</w:body></w:document>'
        return _stored(documents.docx("a", extra={"word/document.xml": body.encode()}))

    return Files("a.docx", packed)


def _epub(make: Callable[[int], str]) -> Files:
    def packed(size: int) -> bytes:
        page = f"<html xmlns='http://www.w3.org/1999/xhtml'><body>{_PARAGRAPH}{make(size)}</body></html>"
        return _stored(documents.epub("a", extra={"page.xhtml": page.encode()}))

    return Files("a.epub", packed)


def _epub_of_pages(size: int) -> bytes:
    pages = [f"p{number}.xhtml" for number in range(size // 400)]
    page = f"<html xmlns='http://www.w3.org/1999/xhtml'><body><h2>A</h2>{_PARAGRAPH}</body></html>".encode()
    return _stored(documents.epub("a", pages=pages, extra=dict.fromkeys(pages, page)))


def _odt(make: Callable[[int], str]) -> Files:
    return Files("a.odt", lambda size: _stored(documents.odt_of(make(size))))


def _pdf(draw: Callable[[int], str]) -> Files:
    return Files("a.pdf", lambda size: documents.pdf_drawn(draw(size).encode()))


def _scattered_letters(size: int) -> str:
    """Draw single letters all over a page, many of them large."""
    return "".join(
        f"BT /F {9 if n % 3 else 20} Tf {30 + n * 37 % 500} {800 - n * 7 % 780} Td (A) Tj ET\n"
        for n in range(size // 40)
    )


def _letters_in_a_row(size: int) -> str:
    return "".join(f"BT /F 9 Tf {30 + n * 15} 400 Td (a) Tj ET\n" for n in range(size // 32))


def _indents(size: int) -> str:
    return "".join(
        f"BT /F 9 Tf {30 + n * 11 % 300}.{n % 97} {900000 - n * 12} Td ({LINE}) Tj ET\n"
        for n in range(size // 110)
    )


def _columns(size: int) -> str:
    row = (
        "BT /F 9 Tf 30 {y} Td (the left one goes on) Tj ET\nBT /F 9 Tf 300 {y} Td (the right one too) Tj ET\n"
    )
    across = f"BT /F 9 Tf 30 {{y}} Td ({LINE} {LINE}) Tj ET\n"
    return "".join(
        (across if n % 6 == 5 else row).replace("{y}", str(900000 - n * 12)) for n in range(size // 100)
    )


def _csv(header: str, make: Callable[[int], str]) -> Files:
    return _text("a.csv", make, before=f"{header}\n")


def _attributes(size: int) -> str:
    return " ".join(f"a{n}" for n in range(size // 7))


FILES: dict[str, Files] = {
    "html: nested blocks": _html(_nested("<div>", "</div>")),
    "html: blocks never closed": _html(repeated("<div>")),
    "html: fonts never closed": _html(lambda size: "<font>" * (size // 20) + "<p>a" * (size // 8)),
    "html: links never closed": _html(repeated("<a name=x>a")),
    "html: headers in depth": _html(
        lambda size: "<div>" * min(400, size // 20) + "<header>a</header>" * (size // 20)
    ),
    "html: headings": _html(repeated(f"<h2>A</h2>{_PARAGRAPH}")),
    "html: headings below two": _html(
        lambda size: f"<h1>One</h1>{_PARAGRAPH}<h1>Two</h1>" + f"<h2>A</h2>{_PARAGRAPH}" * (size // 99)
    ),
    "html: one heading": _html(lambda size: "<h1>" + "a<br>" * (size // 5) + "</h1>"),
    "html: self-closed tags": Files(
        "a.xhtml", lambda size: b'<?xml version="1.0"?><html><body>' + b"<a / " * (size // 5)
    ),
    "html: tags cut off": _html(repeated("<a ")),
    "html: entities": _html(repeated("&lt;&#65;&nosuch;")),
    "html: comments never closed": _html(repeated("<!--")),
    "html: footnotes": _html(repeated("<aside epub:type='footnote'>a</aside>b")),
    "html: tables": _html(lambda size: "<table>" + "<tr><td>a" * (size // 9)),
    "html: nested tables": _html(_nested("<table><tr><td>")),
    "html: preformatted": _html(lambda size: "<pre>" + "a\n" * (size // 2)),
    "html: breaks": _html(repeated("a <br> ")),
    "html: attributes": _html(lambda size: f"<p {_attributes(size)}>{LINE}</p>"),
    "html: attributes that hide in values": _html(
        lambda size: "<p" + "".join(f' a{n}="<b>"' for n in range(size // 12)) + f">{LINE}</p>"
    ),
    "html: attributes behind a comment": _html(lambda size: f'<!-- <a x=" --><p {_attributes(size)} y=">a'),
    "html: one attribute again": _html(lambda size: "<p" + " a=1" * (size // 4) + f">{LINE}</p>"),
    "html: attributes of many bodies": _html(counted(lambda n: f"<body a{n}>")),
    "html: choices": _html(lambda size: "<select>" + "<option>a" * (size // 9)),
    "html: names never ended": _html(repeated("<a")),
    "html: tags in tags": _html(repeated("<a b=\"<c d='")),
    "html: values never closed": _html(repeated("<a b='c ")),
    "html: text": _html(repeated("a b ")),
    "docx: paragraphs": _docx(counted(lambda _: f"<w:p><w:r><w:t>{LINE}</w:t></w:r></w:p>")),
    "docx: runs": _docx(lambda size: "<w:p>" + "<w:r><w:t>a </w:t></w:r>" * (size // 24) + "</w:p>"),
    "docx: text boxes": _docx(
        lambda size: (
            "<w:p>"
            + f"<w:txbxContent><w:p><w:r><w:t>{LINE}</w:t></w:r></w:p></w:txbxContent>" * (size // 99)
            + "</w:p>"
        )
    ),
    "docx: tables in depth": _docx(
        lambda size: (
            "<w:tbl><w:tr><w:tc>" * 60
            + f"<w:p><w:r><w:t>{LINE}</w:t></w:r></w:p>" * (size // 99)
            + "</w:tc></w:tr></w:tbl>" * 60
        )
    ),
    "docx: nested without end": _docx(lambda size: "<w:tbl>" * (size // 15) + "</w:tbl>" * (size // 15)),
    "docx: headings": _docx(
        counted(
            lambda _: (
                '<w:p><w:pPr><w:outlineLvl w:val="1"/></w:pPr><w:r><w:t>A</w:t></w:r></w:p>'
                f"<w:p><w:r><w:t>{LINE}</w:t></w:r></w:p>"
            )
        )
    ),
    "epub: paragraphs": _epub(repeated(_PARAGRAPH)),
    "epub: pages": Files("a.epub", _epub_of_pages),
    "epub: footnotes": _epub(repeated("<aside epub:type='footnote'>a</aside>b")),
    "odt: paragraphs": _odt(counted(lambda _: f"<text:p>{LINE}</text:p>")),
    "odt: notes": _odt(
        lambda size: (
            "<text:p>"
            + "<text:note><text:note-body>a</text:note-body></text:note>b" * (size // 58)
            + "</text:p>"
        )
    ),
    "odt: spaces": _odt(lambda size: "<text:p>a" + '<text:s text:c="100"/>b' * (size // 100) + "</text:p>"),
    "odt: spans in depth": _odt(
        lambda size: (
            "<text:p>"
            + "<text:span>" * 200
            + "a<text:tab/>" * (size // 12)
            + "</text:span>" * 200
            + "</text:p>"
        )
    ),
    "odt: boxes": _odt(lambda size: "<text:p>" + f"<text:p>{LINE}</text:p>" * (size // 99) + "</text:p>"),
    "rtf: paragraphs": _text("a.rtf", repeated(f"{LINE}\\par\n"), "{\\rtf1\\ansi ", "}"),
    "rtf: groups": _text("a.rtf", _nested("{", "}"), "{\\rtf1 "),
    "rtf: groups never closed": _text("a.rtf", repeated("{\\*"), "{\\rtf1 "),
    "rtf: fonts": _text("a.rtf", repeated("\\f1 "), "{\\rtf1{\\fonttbl"),
    "rtf: fonts in a table of another form": _text("a.rtf", repeated("\\f1 "), "{\\rtf1{ \\fonttbl"),
    "rtf: links": _text("a.rtf", repeated('{\\field{\\*\\fldinst{ HYPERLINK "a"}} '), "{\\rtf1 "),
    "rtf: links in capitals": _text("a.rtf", repeated('{\\FIELD{\\*\\FLDINST{ HYPERLINK "a"}} '), "{\\rtf1 "),
    "rtf: escapes": _text("a.rtf", repeated("\\'e9\\u8220?"), "{\\rtf1 "),
    "rtf: pictures": _text("a.rtf", repeated("\\pict\\bin1 a"), "{\\rtf1 "),
    "md: brackets": _text("a.md", repeated("["), LINE),
    "md: images": _text("a.md", repeated("![a]("), LINE),
    "md: emphasis": _text("a.md", repeated("*a **b _c "), LINE),
    "md: stars": _text("a.md", repeated("*a_ "), LINE),
    "md: code marks": Files(
        "a.md", lambda size: "".join("a" + "`" * n for n in range(int((2 * size) ** 0.5))).encode()
    ),
    "md: quotes": _text("a.md", repeated("> "), LINE),
    "md: nested lists": Files(
        "a.md", lambda size: "".join(f"{' ' * n}- a\n" for n in range(int((2 * size) ** 0.5))).encode()
    ),
    "md: lists": _text("a.md", repeated("- a\n"), LINE),
    "md: references": _text("a.md", counted(lambda n: f"[a{n}]: b\n[a{n}]\n\n"), LINE),
    "md: links": _text("a.md", repeated("[a](b) "), LINE),
    "md: tags": _text("a.md", repeated("<a href='"), LINE),
    "md: lesser-than signs": _text("a.md", repeated("<"), LINE),
    "md: entities": _text("a.md", repeated("&amp;&#x"), LINE),
    "md: backslashes": _text("a.md", repeated("\\"), LINE),
    "md: headings": _text("a.md", repeated(f"# A\n\n{LINE}\n\n")),
    "md: hard breaks": _text("a.md", repeated("a  \n"), LINE),
    "md: front matter": _text("a.md", repeated("--- "), "---\ntitle: ", f" b\n---\n{LINE}"),
    "md: a title and spaces": _text("a.md", repeated(" "), "---\ntitle: a", f"b\n---\n{LINE}"),
    "csv: rows": _csv("title,text", repeated(f'A,"{LINE}"\n')),
    "csv: quotes never closed": _csv("title,text", repeated(f'A,"{LINE}\nB,{LINE}\n')),
    "csv: one quote": _csv("title,text", lambda size: 'A,"' + "a\n" * (size // 2)),
    "csv: a wide header": Files(
        "a.csv", lambda size: b"text," + b"x," * (size // 4) + b"\n" + b"a\n" * (size // 4)
    ),
    "csv: commas": _csv("title,text", repeated(",")),
    "csv: empty rows": _csv("title,text", repeated("\n")),
    "json: items": _text("a.json", repeated(f'{{"text": "{LINE}"}},'), "[", "1]"),
    "json: numbers": _text("a.json", repeated("1,"), "[", "1]"),
    "json: a long text and numbers": Files(
        "a.json", lambda size: b'["' + b"a " * size + b'"' + b",1" * (size // 2) + b"]"
    ),
    "json: nested": _text("a.json", _nested("[", "]"), '{"text": '),
    "json: fields": _text("a.json", counted(lambda n: f'"f{n}": 1,'), "[{", f'"text": "{LINE}"}}]'),
    "json: one field again": _text("a.json", repeated('"text": "a",'), "[{", f'"text": "{LINE}"}}]'),
    "json: turns of one side": _text(
        "a.json",
        repeated('{"role": "user", "content": "a"},'),
        '[{"messages": [',
        '{"role": "assistant", "content": "b"}]}]',
    ),
    "json: white space": _text("a.json", repeated("\n"), "[", "1]"),
    "jsonl: lines": _text("a.jsonl", repeated(json.dumps({"title": "A", "text": LINE}) + "\n")),
    "jsonl: bad lines": _text("a.jsonl", repeated("{\n"), '{"text": "a"}\n'),
    "jsonl: a long line": Files("a.jsonl", lambda size: json.dumps({"text": "a " * (size // 2)}).encode()),
    "zip: many small files": Files(
        "a.zip", lambda size: zipped({f"{n}.txt": LINE.encode() for n in range(size // 200)})
    ),
    "zip: many empty files": Files(
        "a.zip", lambda size: zipped({f"{n}.txt": b"" for n in range(size // 100)})
    ),
    "zip: a name of digits": Files(
        "a.zip", lambda size: zipped({"9" * min(size, 60_000) + ".txt": LINE.encode()})
    ),
    "pdf: single letters": _pdf(_scattered_letters),
    "pdf: letters in a row": _pdf(_letters_in_a_row),
    "pdf: indents": _pdf(_indents),
    "pdf: columns": _pdf(_columns),
    "txt: bytes of another encoding": Files("a.txt", lambda size: b"\xe9t\xe9 " * (size // 4)),
    "txt: damaged UTF-8": Files(
        "a.txt", lambda size: ("漢字 " * 9 + "a").encode() * (size // 90) + b"\xe6\xbc" * (size // 200)
    ),
    "txt: escapes of Japanese": Files("a.txt", lambda size: b"\x1b$B" * (size // 3)),
    "txt: escapes of Chinese": Files("a.txt", lambda size: b"~{" * (size // 2)),
    "txt: zeros": Files("a.txt", lambda size: b"a\0" * (size // 2)),
    "txt: lone surrogates": Files("a.txt", lambda size: b"a\xed\xa0\xbd " * (size // 5)),
}
