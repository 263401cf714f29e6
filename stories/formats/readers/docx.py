"""Read Word documents (.docx and .docm, and their templates) from their XML.

python-docx is not used: it leaves out text boxes and words inserted under tracked changes, refuses .docm, and
holds every picture in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from lxml import etree

from stories.formats.zip_files import ZipDocument, open_zip_document, parse_xml
from stories.records import RawStory, UnreadableError, UnusablePart
from stories.structure.headings import Block, omitted_notes, split_at_headings

SUFFIXES = (".docx", ".docm", ".dotx", ".dotm")

_KIND = "Word document"
_DOCUMENT_RELATION = "/officeDocument"
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT_W = b"http://purl.oclc.org/ooxml/wordprocessingml/main"
_ALTERNATIVE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_VALUE = f"{_W}val"
# Not part of the text: what was deleted or moved away under tracked changes, field instructions, properties.
_SKIPPED = {
    *(f"{_W}{name}" for name in ("del", "moveFrom", "instrText", "delText", "pPr", "rPr", "sectPr", "rt")),
    *(f"{_W}{name}" for name in ("sdtPr", "tblPr", "trPr", "tcPr", "footnoteReference", "endnoteReference")),
    _ALTERNATIVE,
}
_CHARACTERS = {
    f"{_W}tab": "\t",
    f"{_W}br": "\n",
    f"{_W}cr": "\n",
    f"{_W}noBreakHyphen": "-",
}
_TITLE_LEVEL, _FIRST_LEVEL, _BODY_LEVEL = 1, 2, 9
_MAX_PARENTS = 20


@dataclass
class _Style:
    """One paragraph style."""

    name: str
    parent: str | None
    outline: int | None
    """Outline level, 0 for the highest; None if the style has none."""


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the chapters of a document.

    Headers, footers and comments are not read. Of tracked changes, insertions are read and deletions are not.
    Footnotes are left out and reported.
    """
    del name
    with open_zip_document(stream, _KIND) as package:
        path = _main_part(package)
        root = _read_part(package, path)
        folder = path.rpartition("/")[0]
        styles = _styles(package, f"{folder}/styles.xml")
        notes = [
            note for part in ("footnotes", "endnotes") for note in _notes(package, f"{folder}/{part}.xml")
        ]
    body = root.find(f"{_W}body")
    blocks = _read_blocks(body, styles) if body is not None else []
    if not blocks:
        raise UnreadableError(
            "It holds no text, perhaps only pictures.", "Put the story's text into it and drop it again."
        )
    yield from split_at_headings(blocks)
    yield from omitted_notes(notes)


def _main_part(package: ZipDocument) -> str:
    """Return the path of the document inside the package."""
    relations = package.read_xml("_rels/.rels")
    for relation in relations:
        if relation.get("Type", "").endswith(_DOCUMENT_RELATION):
            return str(relation.get("Target", "")).lstrip("/")
    return "word/document.xml"


def _read_part(package: ZipDocument, path: str) -> etree._Element:
    # The strict variant of the format differs from the usual one in its namespace only.
    return parse_xml(package.read(path).replace(_STRICT_W, _W[1:-1].encode()), _KIND)


def _styles(package: ZipDocument, path: str) -> dict[str, _Style]:
    if path not in package.names():
        return {}
    styles: dict[str, _Style] = {}
    for element in _read_part(package, path).iterfind(f"{_W}style"):
        styles[element.get(f"{_W}styleId", "")] = _Style(
            name=(_value(element, "name") or "").casefold(),
            parent=_value(element, "basedOn"),
            outline=_number(_value(element, f"pPr/{_W}outlineLvl")),
        )
    return styles


def _notes(package: ZipDocument, path: str) -> Iterator[str]:
    if path in package.names():
        for note in _read_part(package, path):
            # The separators between text and notes are stored as notes of another type.
            text = "".join(found.text or "" for found in note.iter(f"{_W}t"))
            if note.get(f"{_W}type", "normal") == "normal" and text.strip():
                yield text


def _read_blocks(body: etree._Element, styles: dict[str, _Style]) -> list[Block]:
    # Not recursive, because tables and content controls may be nested deeper than Python's recursion limit.
    blocks: list[Block] = []
    waiting = [body]
    while waiting:
        element = waiting.pop()
        if element.tag in _SKIPPED:
            continue
        if element.tag != f"{_W}p":
            waiting.extend(reversed(element))
            continue
        text, boxes = _paragraph_text(element)
        level = _level(element, styles)
        if text.strip() and level is not None:
            blocks.append(Block(text.strip(), level))
        waiting.extend(reversed(boxes))
    return blocks


def _paragraph_text(paragraph: etree._Element) -> tuple[str, list[etree._Element]]:
    """Return a paragraph's own text, and the text boxes anchored in it."""
    pieces: list[str] = []
    boxes: list[etree._Element] = []
    waiting = list(reversed(paragraph))
    while waiting:
        element = waiting.pop()
        tag = element.tag
        if tag == f"{_W}t":
            pieces.append(element.text or "")
        elif tag in _CHARACTERS:
            is_page_end = tag == f"{_W}br" and element.get(f"{_W}type", "textWrapping") != "textWrapping"
            pieces.append("" if is_page_end else _CHARACTERS[tag])
        elif tag == f"{_W}txbxContent":
            boxes.append(element)
        elif tag not in _SKIPPED:
            waiting.extend(reversed(element))
    return "".join(pieces), boxes


def _level(paragraph: etree._Element, styles: dict[str, _Style]) -> int | None:
    """Return 0 for text, a heading's level, or None for a line of a table of contents."""
    properties = paragraph.find(f"{_W}pPr")
    if properties is None:
        return 0
    outline = _number(_value(properties, "outlineLvl"))
    identifier = _value(properties, "pStyle")
    for _ in range(_MAX_PARENTS):
        style = styles.get(identifier or "")
        if style is None:
            break
        if style.name.startswith("toc"):
            return None
        if style.name == "title":
            return _TITLE_LEVEL
        if outline is None:
            outline = style.outline if style.outline is not None else _heading_number(style.name)
        identifier = style.parent
    return 0 if outline is None or outline >= _BODY_LEVEL else _FIRST_LEVEL + outline


def _heading_number(style: str) -> int | None:
    """Return 0 for a style named "heading 1", and so on, if the style has no outline level."""
    word, _, number = style.partition(" ")
    return int(number) - 1 if word == "heading" and number.isdecimal() and int(number) else None


def _value(element: etree._Element, path: str) -> str | None:
    found = element.find(f"{_W}{path}")
    return found.get(_VALUE) if found is not None else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
