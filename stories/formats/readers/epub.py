"""Read e-books (.epub): the pages in reading order, with titles from headings or the table of contents."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote, urldefrag

from lxml import etree

from stories.formats.encoding import decode
from stories.formats.readers.html import HtmlPage, parse_html
from stories.formats.zip_files import ZipDocument, open_zip_document
from stories.records import RawStory, UnreadableError, UnusablePart
from stories.structure.headings import Block, is_front_or_back_matter, omitted_notes, split_at_headings

SUFFIXES = (".epub",)

_KIND = "e-book"
_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
# These scramble fonts only; the book is not protected.
_FONT_SCRAMBLING = {"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"}
_PAGE_TYPES = {"application/xhtml+xml", "text/html", "text/x-oeb1-document"}
_AROUND = {"cover", "title-page", "copyright-page", "toc", "colophon", "index", "bibliography", "loi", "lot"}


@dataclass(frozen=True)
class _Item:
    """One file in the book's manifest."""

    path: str
    media_type: str
    properties: frozenset[str]


@dataclass(frozen=True)
class _Book:
    """The content of the package document."""

    items: dict[str, _Item]
    spine: list[_Item]
    """The pages in reading order."""
    around: set[str]
    """Paths of title page, contents and the like, if the book marks them."""
    title: str | None
    contents: _Item | None
    """The file with the table of contents."""


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the chapters of an e-book, and what is left out: title pages, contents, notes."""
    del name
    with open_zip_document(stream, _KIND) as package:
        book = _read_book(package)
        _refuse_protected(package, book)
        titles = _contents(package, book)
        blocks: list[Block] = []
        notes: list[str] = []
        unused = 0
        for item in book.spine:
            page = parse_html(_decode_page(package.read(item.path)), is_book=True)
            notes += page.notes
            unused += page.unused
            if item.path in book.around:
                unused += sum(len(block.text) for block in page.blocks)
            else:
                blocks += _named(page, titles.get(item.path))
    if not blocks:
        raise UnreadableError(
            "The e-book has no text, perhaps only pictures of its pages.",
            "Run text recognition (OCR) over it, or drop a copy that holds text.",
        )
    yield from split_at_headings(blocks, book.title, unused)
    yield from omitted_notes(notes)


def _decode_page(data: bytes) -> str:
    """Decode one page; an empty page is allowed."""
    return decode(data) if data.strip() else ""


def _named(page: HtmlPage, title: str | None) -> list[Block]:
    """Return a page's blocks, with the title from the table of contents if it has no heading."""
    if not title or not page.blocks or any(block.level for block in page.blocks):
        return page.blocks
    first = " ".join(page.blocks[0].text.split())
    if first.casefold() == title.casefold():
        return [Block(first, 1), *page.blocks[1:]]
    return [Block(title, 1), *page.blocks]


def _read_book(package: ZipDocument) -> _Book:
    path = _package_path(package)
    root = package.read_xml(path)
    folder = posixpath.dirname(path)
    items = {
        element.get("id", ""): _Item(
            _resolve(folder, element.get("href", "")),
            element.get("media-type", ""),
            frozenset(element.get("properties", "").split()),
        )
        for element in root.iterfind("{*}manifest/{*}item")
    }
    names = set(package.names())
    spine = [
        items[reference.get("idref", "")]
        for reference in root.iterfind("{*}spine/{*}itemref")
        if reference.get("linear") != "no" and reference.get("idref") in items
    ]
    # Each page once, even if a malicious list names it a thousand times.
    pages = {item.path: item for item in spine if item.media_type in _PAGE_TYPES and item.path in names}
    spine = list(pages.values())
    if not spine:
        raise UnreadableError(
            "The e-book does not say in which order its pages are read, or they are missing.",
            "Export it again, for instance with Calibre, and drop it again.",
        )
    around = {
        _resolve(folder, reference.get("href", ""))
        for reference in root.iterfind("{*}guide/{*}reference")
        if reference.get("type", "").casefold() in _AROUND
    }
    around |= {item.path for item in items.values() if "nav" in item.properties}
    return _Book(items, spine, around, _title(root), _contents_item(root, items))


def _package_path(package: ZipDocument) -> str:
    names = package.names()
    if _CONTAINER in names:
        root = package.read_xml(_CONTAINER)
        for rootfile in root.iterfind("{*}rootfiles/{*}rootfile"):
            path: str = rootfile.get("full-path", "")
            if path in names:
                return path
    found = next((name for name in names if name.endswith(".opf")), None)
    if found is None:
        raise UnreadableError(
            "It is not a valid e-book: it has no list of its pages inside.",
            "Export it again as EPUB, for instance with Calibre, and drop it again.",
        )
    return found


def _title(root: etree._Element) -> str | None:
    element = next(root.iterfind("{*}metadata/{http://purl.org/dc/elements/1.1/}title"), None)
    return " ".join((element.text or "").split()) or None if element is not None else None


def _contents_item(root: etree._Element, items: dict[str, _Item]) -> _Item | None:
    nav = next((item for item in items.values() if "nav" in item.properties), None)
    spine = root.find("{*}spine")
    return nav or (items.get(spine.get("toc", "")) if spine is not None else None)


def _refuse_protected(package: ZipDocument, book: _Book) -> None:
    if _ENCRYPTION not in package.names():
        return
    pages = {item.path for item in book.spine}
    for data in package.read_xml(_ENCRYPTION).iterfind(".//{*}EncryptedData"):
        method = data.find("{*}EncryptionMethod")
        reference = data.find(".//{*}CipherReference")
        algorithm = method.get("Algorithm") if method is not None else None
        path = unquote(reference.get("URI", "")) if reference is not None else ""
        if path in pages and algorithm not in _FONT_SCRAMBLING:
            raise UnreadableError(
                "It is protected against copying (DRM), so its text cannot be read.",
                "Drop the manuscript itself, or a copy that its publisher sells without protection.",
            )


def _contents(package: ZipDocument, book: _Book) -> dict[str, str]:
    """Return the first title that the table of contents gives to each file."""
    item = book.contents
    if item is None or item.path not in package.names():
        return {}
    try:
        root = package.read_xml(item.path)
    except UnreadableError:
        # Without a readable table of contents the headings are still there.
        return {}
    folder = posixpath.dirname(item.path)
    titles: dict[str, str] = {}
    for target, label in _ncx_entries(root) if root.tag.endswith("}ncx") else _nav_entries(root):
        title = " ".join(label.split())
        if title and not is_front_or_back_matter(title):
            titles.setdefault(_resolve(folder, target), title)
    return titles


def _ncx_entries(root: etree._Element) -> Iterator[tuple[str, str]]:
    for point in root.iterfind(".//{*}navPoint"):
        content, label = point.find("{*}content"), point.find("{*}navLabel/{*}text")
        if content is not None and label is not None:
            yield content.get("src", ""), label.text or ""


def _nav_entries(root: etree._Element) -> Iterator[tuple[str, str]]:
    for nav in root.iterfind(".//{*}nav"):
        if "toc" in nav.get("{http://www.idpf.org/2007/ops}type", "toc").split():
            for link in nav.iterfind(".//{*}a"):
                yield link.get("href", ""), "".join(link.itertext())


def _resolve(folder: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(urldefrag(target).url)))
