"""Read OpenDocument texts (.odt), as LibreOffice writes them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from lxml import etree

from stories.formats.zip_files import ZipDocument, open_zip_document
from stories.records import RawStory, UnreadableError, UnusablePart
from stories.structure.headings import Block, omitted_notes, split_at_headings

SUFFIXES = (".odt", ".ott")

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_MANIFEST = "{urn:oasis:names:tc:opendocument:xmlns:manifest:1.0}"
_CONTENT = "content.xml"
_WHITE_SPACE = re.compile(r"[ \t\r\n]+")
_PROTECTION = "META-INF/manifest.xml"

# Not part of the text: deletions under tracked changes, comments, tables of contents and the like.
_SKIPPED = {
    *(
        f"{_TEXT}{name}"
        for name in ("tracked-changes", "table-of-content", "alphabetical-index", "ruby-text")
    ),
    *(f"{_TEXT}{name}" for name in ("bibliography", "illustration-index", "table-index", "user-index")),
    *(f"{_TEXT}{name}" for name in ("sequence-decls", "variable-decls", "user-field-decls", "page-number")),
    *(f"{_OFFICE}{name}" for name in ("annotation", "annotation-end", "forms", "event-listeners")),
}
_PARAGRAPHS = {f"{_TEXT}p", f"{_TEXT}h"}
_MAX_SPACES = 100
_LOWEST_LEVEL = 10


@dataclass
class _Document:
    """The blocks and notes found in the document."""

    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the chapters of a document, without text deleted under tracked changes."""
    del name
    with open_zip_document(stream, "OpenDocument text") as package:
        _refuse_protected(package)
        root = package.read_xml(_CONTENT)
    body = root.find(f"{_OFFICE}body/{_OFFICE}text")
    if body is None:
        raise UnreadableError(
            "It is an OpenDocument file, but not a text.",
            "Save the story as a text document (.odt or .docx).",
        )
    document = _Document()
    _walk(body, document, _title_styles(root))
    if not document.blocks:
        raise UnreadableError("It is empty.", "Put the story's text into it and drop it again.")
    yield from split_at_headings(document.blocks)
    yield from omitted_notes(document.notes)


def _refuse_protected(package: ZipDocument) -> None:
    if _PROTECTION in package.names():
        manifest = package.read_xml(_PROTECTION)
        if next(manifest.iter(f"{_MANIFEST}encryption-data"), None) is not None:
            raise UnreadableError("It is protected by a password.", "Save it again without a password.")


def _title_styles(root: etree._Element) -> set[str]:
    """Return the names of the style Title and of the automatic styles based on it."""
    made = {
        style.get(f"{_STYLE}name", "")
        for style in root.iterfind(f"{_OFFICE}automatic-styles/{_STYLE}style")
        if style.get(f"{_STYLE}parent-style-name") == "Title"
    }
    return made | {"Title"}


def _walk(body: etree._Element, document: _Document, titles: set[str]) -> None:
    # Not recursive, because a document may be nested deeper than Python's recursion limit.
    waiting = [body]
    while waiting:
        element = waiting.pop()
        if element.tag in _SKIPPED:
            continue
        if element.tag in _PARAGRAPHS:
            text = _paragraph_text(element, document).strip()
            if text:
                document.blocks.append(Block(text, _level(element, titles)))
        else:
            waiting.extend(reversed(element))


def _level(element: etree._Element, titles: set[str]) -> int:
    if element.tag == f"{_TEXT}h":
        level = element.get(f"{_TEXT}outline-level", "1")
        return min(int(level), _LOWEST_LEVEL) + 1 if level.isdecimal() else 2
    return 1 if element.get(f"{_TEXT}style-name") in titles else 0


def _paragraph_text(paragraph: etree._Element, document: _Document) -> str:
    pieces: list[str] = []
    # A stack of elements and of the strings between them.
    waiting: list[etree._Element | str] = [paragraph]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            pieces.append(part)
            continue
        if part.tag in _PARAGRAPHS and part is not paragraph:
            # A text box inside a paragraph has its own paragraphs.
            pieces.append("\n")
        waiting.extend(_inside(part, document))
    return "".join(pieces)


def _inside(element: etree._Element, document: _Document) -> list[etree._Element | str]:
    """Return an element's content in reverse order."""
    if element.tag in _SKIPPED:
        return []
    if element.tag == f"{_TEXT}note":
        body = element.find(f"{_TEXT}note-body")
        document.notes.append("".join(body.itertext()) if body is not None else "")
        return []
    if element.tag == f"{_TEXT}s":
        count = element.get(f"{_TEXT}c", "1")
        return [" " * (min(int(count), _MAX_SPACES) if count.isdecimal() else 1)]
    if element.tag == f"{_TEXT}tab":
        return ["\t"]
    if element.tag == f"{_TEXT}line-break":
        return ["\n"]
    found: list[etree._Element | str] = []
    for child in reversed(element):
        found += [_spaced(child.tail), child]
    return [*found, _spaced(element.text)]


def _spaced(text: str | None) -> str:
    """Collapse white space to one space, as the format requires: significant spaces are elements."""
    return _WHITE_SPACE.sub(" ", text or "")
