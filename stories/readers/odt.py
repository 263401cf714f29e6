"""OpenDocument texts (.odt), as LibreOffice writes them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from lxml import etree

from stories.errors import UnreadableError
from stories.packages import Package, open_package
from stories.readers import Draft, Flaw
from stories.structure import Block, notes_left_out, to_drafts

SUFFIXES = (".odt", ".ott")

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_MANIFEST = "{urn:oasis:names:tc:opendocument:xmlns:manifest:1.0}"
_CONTENT = "content.xml"
_WHITE_SPACE = re.compile(r"[ \t\r\n]+")
_PROTECTION = "META-INF/manifest.xml"

# Deleted under tracked changes, comments, tables of contents and the like: no part of the text.
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
_MOST_SPACES = 100
_LOWEST_LEVEL = 10


@dataclass
class _Document:
    """What is found on the way through the document."""

    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(stream: IO[bytes], name: str) -> Iterator[Draft | Flaw]:
    """Yield the chapters of a document; text deleted under tracked changes is not read."""
    del name
    with open_package(stream, "OpenDocument text") as package:
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
    yield from to_drafts(document.blocks)
    yield from notes_left_out(document.notes)


def _refuse_protected(package: Package) -> None:
    if _PROTECTION in package.names():
        manifest = package.read_xml(_PROTECTION)
        if next(manifest.iter(f"{_MANIFEST}encryption-data"), None) is not None:
            raise UnreadableError("It is protected by a password.", "Save it again without a password.")


def _title_styles(root: etree._Element) -> set[str]:
    """Return the names of the styles that are Title, or made from it for one paragraph."""
    made = {
        style.get(f"{_STYLE}name", "")
        for style in root.iterfind(f"{_OFFICE}automatic-styles/{_STYLE}style")
        if style.get(f"{_STYLE}parent-style-name") == "Title"
    }
    return made | {"Title"}


def _walk(body: etree._Element, document: _Document, titles: set[str]) -> None:
    # Not by recursion: a document may be nested as deeply as it likes.
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
    # Each element is followed by the text after it; strings wait among the elements for their turn.
    waiting: list[etree._Element | str] = [paragraph]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            pieces.append(part)
            continue
        if part.tag in _PARAGRAPHS and part is not paragraph:
            # A text box inside a paragraph holds paragraphs of its own.
            pieces.append("\n")
        waiting.extend(_inside(part, document))
    return "".join(pieces)


def _inside(element: etree._Element, document: _Document) -> list[etree._Element | str]:
    """Return what an element holds, last first."""
    if element.tag in _SKIPPED:
        return []
    if element.tag == f"{_TEXT}note":
        body = element.find(f"{_TEXT}note-body")
        document.notes.append("".join(body.itertext()) if body is not None else "")
        return []
    if element.tag == f"{_TEXT}s":
        count = element.get(f"{_TEXT}c", "1")
        return [" " * (min(int(count), _MOST_SPACES) if count.isdecimal() else 1)]
    if element.tag == f"{_TEXT}tab":
        return ["\t"]
    if element.tag == f"{_TEXT}line-break":
        return ["\n"]
    found: list[etree._Element | str] = []
    for child in reversed(element):
        found += [_spaced(child.tail), child]
    return [*found, _spaced(element.text)]


def _spaced(text: str | None) -> str:
    """Make one space of all white space, as the format asks for: spaces that count are elements."""
    return _WHITE_SPACE.sub(" ", text or "")
