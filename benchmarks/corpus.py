"""Makes story files at run time out of the sample stories' sentences, in every compared format."""

import html
import itertools
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

_PARAGRAPH_SENTENCES = 5
_WRAPPED_AT = 72
_CHAPTER_CHARACTERS = 20_000

Writer = Callable[[Path, str, list[str]], None]
"""Writes a file; takes its path, title and paragraphs."""


class Corpus:
    """Makes stories. The same seed gives the same stories; two stories share few passages."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        """Read the sentences of a folder's text files.

        Raises:
            ValueError: the folder has no text files.
        """
        texts = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.txt"))]
        found = itertools.chain.from_iterable(re.split(r"(?<=[.!?])\s+", text) for text in texts)
        self._sentences = [" ".join(sentence.split()) for sentence in found if sentence.strip()]
        if not self._sentences:
            raise ValueError(f"{folder} has no .txt files to make stories from. Name another with STORIES=…")
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def paragraphs(self, size: int) -> Iterator[str]:
        """Yield paragraphs of `size` characters in total."""
        made = 0
        while made < size:
            sentences = [self._sentence() for _ in range(_PARAGRAPH_SENTENCES)]
            paragraph = " ".join(sentences)
            made += len(paragraph) + 2
            yield paragraph

    def _sentence(self) -> str:
        # Join the beginning of one sentence and the end of another, which gives millions of sentences.
        first, second = self._random.choices(self._sentences, k=2)
        head, tail = first.split(), second.split()
        return " ".join(head[: len(head) // 2 + 1] + tail[len(tail) // 2 :])

    def write(self, folder: Path, suffix: str, files: int, size: int) -> int:
        """Write `files` files of about `size` characters each; return their total bytes."""
        folder.mkdir(parents=True)
        writer = WRITERS[suffix]
        for number in range(files):
            path = folder / f"tale-{_spelled(number)}{suffix}"
            writer(path, f"The Tale of {_spelled(number).title()}", list(self.paragraphs(size)))
        return sum(path.stat().st_size for path in folder.iterdir())


def _spelled(number: int) -> str:
    """Spell a number in letters, because files with numbers in their names count as chapters of one book."""
    return "".join(chr(ord("a") + int(digit)) for digit in f"{number:05}")


def _chapters(paragraphs: list[str]) -> Iterator[tuple[str, list[str]]]:
    chapter: list[str] = []
    count = itertools.count(1)
    for paragraph in paragraphs:
        chapter.append(paragraph)
        if sum(map(len, chapter)) > _CHAPTER_CHARACTERS:
            yield f"Chapter {next(count)}", chapter
            chapter = []
    if chapter:
        yield f"Chapter {next(count)}", chapter


def _text(path: Path, title: str, paragraphs: list[str]) -> None:
    path.write_text("\n\n".join([title, *paragraphs]) + "\n", encoding="utf-8")


def _markdown(path: Path, title: str, paragraphs: list[str]) -> None:
    path.write_text("\n\n".join([f"# {title}", *paragraphs]) + "\n", encoding="utf-8")


def _json_lines(path: Path, title: str, paragraphs: list[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, paragraph in enumerate(paragraphs):
            file.write(json.dumps({"title": f"{title} {number}", "text": paragraph}) + "\n")


def _html_page(title: str, paragraphs: list[str]) -> str:
    body = "\n".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs)
    return (
        '<html xmlns="http://www.w3.org/1999/xhtml"><head>'
        f"<title>{html.escape(title)}</title></head><body><h1>{html.escape(title)}</h1>\n{body}</body></html>"
    )


def _html(path: Path, title: str, paragraphs: list[str]) -> None:
    path.write_text(f"<!doctype html>{_html_page(title, paragraphs)}", encoding="utf-8")


_WORDPROCESSING = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def _docx(path: Path, title: str, paragraphs: list[str]) -> None:
    body = [_word_paragraph(title, "Title")]
    for heading, chapter in _chapters(paragraphs):
        body += [_word_paragraph(heading, "Heading1"), *map(_word_paragraph, chapter)]
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType='
            '"application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships">'
            f'<Relationship Id="r1" Type="{_OFFICE}" Target="word/document.xml"/></Relationships>',
        )
        archive.writestr(
            "word/document.xml",
            f'<w:document xmlns:w="{_WORDPROCESSING}"><w:body>{"".join(body)}</w:body></w:document>',
        )


def _word_paragraph(text: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{html.escape(text)}</w:t></w:r></w:p>"


_CONTAINER = (
    '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def _epub(path: Path, title: str, paragraphs: list[str]) -> None:
    pages = {f"c{number}.xhtml": chapter for number, chapter in enumerate(_chapters(paragraphs))}
    items = "".join(
        f'<item id="{name[:-6]}" href="{name}" media-type="application/xhtml+xml"/>' for name in pages
    )
    spine = "".join(f'<itemref idref="{name[:-6]}"/>' for name in pages)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", _CONTAINER)
        archive.writestr(
            "content.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">'
            '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">x</dc:identifier>'
            f"<dc:title>{html.escape(title)}</dc:title><dc:language>en</dc:language></metadata>"
            f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
        )
        for name, (heading, chapter) in pages.items():
            archive.writestr(name, _html_page(heading, chapter))


_LINES_A_PAGE = 40


def _pdf(path: Path, title: str, paragraphs: list[str]) -> None:
    """Write a simple PDF without a library: Helvetica, 40 lines a page."""
    lines = [title, ""]
    for paragraph in paragraphs:
        lines += [*_wrapped(paragraph), ""]
    pages = [lines[start : start + _LINES_A_PAGE] for start in range(0, len(lines), _LINES_A_PAGE)]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, page in enumerate(pages):
        shown = b"".join(b"(%s) Tj T*\n" % _escaped(line) for line in page)
        stream = b"BT /F1 11 Tf 16 TL 72 760 Td\n" + shown + b"ET"
        resources = f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] {resources} >>".encode())
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    _write_objects(path, objects)


def _write_objects(path: Path, objects: list[bytes]) -> None:
    body = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    body += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    body += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    path.write_bytes(bytes(body))


def _wrapped(paragraph: str) -> Iterator[str]:
    line = ""
    for word in paragraph.split():
        if line and len(line) + 1 + len(word) > _WRAPPED_AT:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def _escaped(line: str) -> bytes:
    return re.sub(rb"([\\()])", rb"\\\1", line.encode("cp1252", "replace"))


WRITERS: dict[str, Writer] = {
    ".txt": _text,
    ".md": _markdown,
    ".jsonl": _json_lines,
    ".html": _html,
    ".docx": _docx,
    ".epub": _epub,
    ".pdf": _pdf,
}
