"""Read web pages (.html, .htm and .xhtml): headings and paragraphs, without menus, banners and scripts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from selectolax.lexbor import LexborHTMLParser, LexborNode

from stories.formats.detection import read_whole
from stories.formats.encoding import decode
from stories.records import RawStory, UnreadableError, UnusablePart
from stories.structure.headings import Block, omitted_notes, split_at_headings

SUFFIXES = (".html", ".htm", ".xhtml")

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w:.-]+)""", re.I)
_DECLARED_WITHIN_BYTES = 4096
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")

_SKIPPED = (
    "script style template noscript nav footer svg math form button select textarea input iframe object "
    "audio video canvas head map dialog rt rp"
)
_BLOCKS = (
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure "
    "header hr html li main ol p pre section summary table tbody td tfoot th thead tr ul"
)
_SKIPPED_TAGS = frozenset(_SKIPPED.split())
_BLOCK_TAGS = frozenset(_BLOCKS.split())
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LOWEST_LEVEL = 6
_INSIDE_STORY = {"article", "main", "section"}
_FOOTNOTES = {"footnote", "footnotes", "endnote", "endnotes", "rearnote", "rearnotes"}
_NOTE_MARKS = {"noteref", "doc-noteref", "backlink", "doc-backlink"}
_PAGE_BREAKS = {"pagebreak", "doc-pagebreak"}
_AROUND = {
    *("cover", "titlepage", "halftitlepage", "copyright-page", "toc", "colophon", "imprint", "imprimatur"),
    *("index", "bibliography", "loi", "lot", "landmarks", "page-list"),
}
_WHITE_SPACE = re.compile(r"[ \t\r\n\f]+")
_HIDDEN = re.compile(r"display\s*:\s*none", re.I)
_ENTITY_DECLARATION = re.compile(r"<!ENTITY", re.I)
_PROLOG_CHARACTERS = 64 * 1024
_XHTML = re.compile(r"<\?xml|xmlns=.http://www\.w3\.org/1999/xhtml", re.I)
# An HTML parser ignores the slash in `<a id="x"/>` and `<title/>`, so the element would never end.
_SELF_CLOSED = re.compile(
    r"<((?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)[a-z][\w:-]*)(\s[^<>]*?)?/>",
    re.I,
)
_SCENE_BREAK = "* * *"

_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)", re.I)
_NEVER_NESTED = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"),
    *("p", "li", "dt", "dd", "option", "tr", "td", "th", "tbody", "thead", "tfoot", "html", "head", "body"),
}
# A parser opens these again in each following paragraph if they were not closed.
_FORMATTING = {
    *("a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"),
}
# A parser goes through all open elements at each tag. This limit on the average number for each tag, plus a
# fixed allowance, keeps its time proportional to the page's length.
_MAX_OPEN = 500
_ANY_STEPS = 500_000
# A node takes about a hundred bytes.
_MAX_COPIES = 3_000_000
# A parser compares each attribute with all others of its element, and goes through a list of choices at each
# of them. The attributes of a second `<html>` or `<body>` are added to the first. A script may look like a
# tag with many attributes (`i<n`), but not with this many.
_MAX_ATTRIBUTES = 10_000
_MAX_CHOICES = 10_000
_ONE_ELEMENT = {"html", "body"}
_NAME_REST = re.compile(r"[^ \t\n\f\r/>]*")
_ATTRIBUTE = re.compile(
    r"[ \t\n\f\r/]*+[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+"
    r"(?:[ \t\n\f\r]*+=[ \t\n\f\r]*+(?:(?P<quote>[\"'])|[^ \t\n\f\r>]*+))?+"
)
_CURE = "Open it in a browser, copy the story into an editor and save it as plain text (.txt)."


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the stories of a page, without its menus, banners and scripts."""
    del name
    source = _decode(read_whole(stream))
    page = parse_html(source)
    if not page.blocks:
        raise UnreadableError(
            "The page has no text of its own; a program in it would fetch that from elsewhere.",
            "Open it in a browser, copy the story into an editor and save it as plain text (.txt).",
        )
    yield from split_at_headings(page.blocks, page.title, page.unused)
    yield from omitted_notes(page.notes)


def _decode(data: bytes) -> str:
    """Decode a page, by its declared encoding unless it is Unicode or the declaration is wrong."""
    declared = _DECLARED.search(data[:_DECLARED_WITHIN_BYTES])
    if declared and not data.startswith(_MARKS) and b"\0" not in data:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            try:
                return data.decode(declared[1].decode("ascii"))
            except (UnicodeError, LookupError):
                pass
    return decode(data)


@dataclass
class HtmlPage:
    """The text of an HTML document."""

    title: str | None
    """Text of its `<title>`."""
    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Its footnotes, which are not part of the story."""
    unused: int = 0
    """Characters of title pages and the like, which an e-book marks as such."""


@dataclass
class _Paragraph:
    """The paragraph that is being built."""

    pieces: list[str] = field(default_factory=list)
    level: int = 0
    is_preformatted: bool = False
    inside_story: int = 0
    """Number of open elements that contain a story; a header inside one belongs to the story."""

    def add(self, text: str) -> None:
        self.pieces.append(text if self.is_preformatted else _WHITE_SPACE.sub(" ", text))

    def take(self) -> str:
        text = "".join(self.pieces)
        self.pieces.clear()
        if self.is_preformatted:
            return text.strip("\n")
        text = re.sub(r" *\n *", "\n", re.sub(" {2,}", " ", text))
        return text.strip(" \n")


def parse_html(html: str, *, is_book: bool = False) -> HtmlPage:
    """Read an HTML document.

    Args:
        html: source of the document.
        is_book: whether all of it is the story, as in an e-book; otherwise only its main part is read.

    Raises:
        UnreadableError: it defines entities, as XML bombs do, or it is nested too deeply.
    """
    prolog = html[:_PROLOG_CHARACTERS]
    if _ENTITY_DECLARATION.search(prolog):
        raise UnreadableError(
            "It defines abbreviations (XML entities) that could blow up to any size.",
            "Save it again in the program that made it, or as plain text (.txt).",
        )
    if _XHTML.search(prolog):
        html = _SELF_CLOSED.sub(r"<\1\2></\1>", html)
    check_nesting(html)
    tree = LexborHTMLParser(html)
    named = tree.css_first("head > title")
    page = HtmlPage(" ".join(named.text().split()) or None if named else None)
    if tree.body is not None:
        _walk(tree.body if is_book else _main_part(tree.body), page, is_book=is_book)
    return page


def _main_part(body: LexborNode) -> LexborNode:
    """Return the element that contains the story, or the whole body if the page does not mark one."""
    for name in ("main", "article"):
        found = body.css(name)
        if len(found) == 1 and len(found[0].text()) * 2 > len(body.text()):
            return found[0]
    return body


def _walk(root: LexborNode, page: HtmlPage, *, is_book: bool) -> None:
    # Not recursive, because a page may be nested deeper than Python's recursion limit.
    paragraph = _Paragraph(inside_story=sum(tag in _INSIDE_STORY for tag in _tags_above(root)))
    node: LexborNode | None = root
    while node is not None:
        skipped = _skip(node, page, keeps_headers=is_book or paragraph.inside_story > 0, is_book=is_book)
        if not skipped:
            _enter(node, paragraph, page)
            child = node.child
            if child is not None:
                node = child
                continue
            _leave(node, paragraph, page)
        node = _next(node, root, paragraph, page)
    _flush(paragraph, page)


def _next(node: LexborNode, root: LexborNode, paragraph: _Paragraph, page: HtmlPage) -> LexborNode | None:
    """Return the node that follows in reading order, closing the elements that end before it."""
    current: LexborNode | None = node
    while current is not None and current.mem_id != root.mem_id:
        following = current.next
        if following is not None:
            return following
        current = current.parent
        if current is not None:
            _leave(current, paragraph, page)
    return None


def _skip(node: LexborNode, page: HtmlPage, *, keeps_headers: bool, is_book: bool) -> bool:
    tag = node.tag
    if tag == "-text":
        return False
    if tag is None or tag.startswith("-") or tag in _SKIPPED_TAGS:
        return True
    attributes = node.attributes
    if not attributes and tag not in {"aside", "header"}:
        return False
    kinds = {
        *(attributes.get("epub:type") or "").split(),
        *(attributes.get("role") or "").removeprefix("doc-").split(),
    }
    if kinds & _FOOTNOTES:
        page.notes.append(node.text())
        return True
    if kinds & _AROUND:
        page.unused += len(node.text())
        return True
    return (
        bool(kinds & (_NOTE_MARKS | _PAGE_BREAKS | {"navigation", "banner", "contentinfo"}))
        or "hidden" in attributes
        or bool(_HIDDEN.search(attributes.get("style") or ""))
        or (tag == "aside" and not is_book)
        or (tag == "header" and not keeps_headers)
    )


def _tags_above(node: LexborNode) -> Iterator[str | None]:
    parent = node.parent
    while parent is not None:
        yield parent.tag
        parent = parent.parent


def _enter(node: LexborNode, paragraph: _Paragraph, page: HtmlPage) -> None:
    tag = node.tag or ""
    if tag == "-text":
        paragraph.add(node.text_content or "")
    elif tag == "br":
        paragraph.pieces.append("\n")
    elif tag == "hr":
        _flush(paragraph, page)
        page.blocks.append(Block(_SCENE_BREAK))
    elif tag in _HEADINGS or tag == "hgroup":
        if not paragraph.level:
            _flush(paragraph, page)
        # A group of headings, or one inside another, is one heading with the highest level among them.
        paragraph.level = min(paragraph.level or _LOWEST_LEVEL, _HEADINGS.get(tag, _LOWEST_LEVEL))
    elif tag in _BLOCK_TAGS:
        _separate(paragraph, page)
        paragraph.is_preformatted = paragraph.is_preformatted or tag == "pre"
        paragraph.inside_story += tag in _INSIDE_STORY


def _leave(node: LexborNode, paragraph: _Paragraph, page: HtmlPage) -> None:
    tag = node.tag or ""
    if tag in _HEADINGS and node.parent is not None and node.parent.tag == "hgroup":
        paragraph.pieces.append("\n")
    elif tag in _HEADINGS or tag == "hgroup":
        _flush(paragraph, page)
        paragraph.level = 0
    elif tag in _BLOCK_TAGS:
        _separate(paragraph, page)
        paragraph.inside_story -= tag in _INSIDE_STORY
        if tag == "pre":
            paragraph.is_preformatted = False


def _separate(paragraph: _Paragraph, page: HtmlPage) -> None:
    """End the paragraph, or only the line if inside a heading."""
    if paragraph.level:
        paragraph.pieces.append("\n")
    else:
        _flush(paragraph, page)


def _flush(paragraph: _Paragraph, page: HtmlPage) -> None:
    text = paragraph.take()
    if text.strip():
        page.blocks.append(Block(text, paragraph.level))


def check_nesting(html: str) -> None:
    """Check that nesting, unclosed elements, attributes and choices of a page do not make parsing too slow.

    Raises:
        UnreadableError: the page exceeds a limit.
    """
    steps = copies = depth = formatting = choices = shared = 0
    max_steps = _ANY_STEPS
    attributes = _AttributeCounter(html)
    for found in _TAG.finditer(html):
        closes, name = found[1], found[2].lower()
        if name not in _NEVER_NESTED:
            depth = max(0, depth - 1) if closes else depth + 1
            if name in _FORMATTING:
                formatting = max(0, formatting - 1) if closes else formatting + 1
        count = attributes.count(found.end())
        shared += count if name in _ONE_ELEMENT else 0
        if max(count, shared) > _MAX_ATTRIBUTES:
            raise UnreadableError(
                f"One of its elements has more than {_MAX_ATTRIBUTES:,} attributes, far more than in any "
                "page that a program writes.",
                _CURE,
            )
        choices += name == "option"
        if choices > _MAX_CHOICES:
            raise UnreadableError(f"It has more than {_MAX_CHOICES:,} choices to select from.", _CURE)
        steps += depth
        max_steps += _MAX_OPEN
        copies += formatting
        if steps > max_steps or copies > _MAX_COPIES:
            raise UnreadableError(
                "Its elements are nested far deeper than in any page that a program writes.", _CURE
            )


class _AttributeCounter:
    """Counts the attributes of a page's tags.

    Text that looks like a tag or the end of one may be inside a value or a comment. So attributes are counted
    from everything that looks like a tag, and positions already passed are not scanned again.
    """

    def __init__(self, html: str) -> None:
        self._html = html
        self._following: dict[int, int] = {}
        """Number of attributes that follow a position."""
        self._furthest = 0
        self._name_end = 0

    def count(self, position: int) -> int:
        """Return the number of attributes after a tag's name; counting stops beyond the limit."""
        if position >= self._furthest:
            self._following.clear()
        if position > self._name_end:
            self._name_end = _NAME_REST.match(self._html, position).end()  # type: ignore[union-attr]
        position = self._name_end
        passed: list[int] = []
        while position not in self._following and len(passed) <= _MAX_ATTRIBUTES:
            found = _ATTRIBUTE.match(self._html, position)
            if found is None:
                break
            passed.append(position)
            position = found.end()
            if found["quote"]:
                # A value that is never closed reaches to the end of the page.
                position = self._html.find(found["quote"], position) + 1 or len(self._html)
        count = self._following.get(position, 0)
        for earlier in reversed(passed):
            count += 1
            self._following[earlier] = count
        self._furthest = max(self._furthest, position)
        return count
