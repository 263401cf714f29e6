"""Read Markdown as plain text with its paragraphs."""

import re
from collections.abc import Iterator, Sequence
from typing import IO

from markdown_it import MarkdownIt
from markdown_it.token import Token

from stories.formats.detection import read_whole
from stories.formats.encoding import decode
from stories.records import RawStory, UnusablePart

SUFFIXES = (".md", ".markdown")

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(\S.*)$", re.M | re.I)
_LINE_BREAK = re.compile(r"<br\s*/?>", re.I)
_LONGEST_LINE_OF_VERSE = 55
_MIN_LINES_OF_VERSE = 2


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the one story of a Markdown file, with the title from its front matter or first heading."""
    del name
    source = re.sub(r"\r\n?", "\n", decode(read_whole(stream)))
    title = None
    front = _FRONT_MATTER.match(source)
    if front:
        source = source[front.end() :]
        named = _FRONT_TITLE.search(front[1])
        title = named[1].rstrip(" \t").strip("'\"") if named else None
    heading, text = to_plain_text(source)
    yield RawStory(text, title or heading)


def to_plain_text(source: str) -> tuple[str | None, str]:
    """Convert Markdown to its first heading and the plain text of the rest.

    Later headings, and a first heading with text before it, stay in the text.
    """
    heading: str | None = None
    blocks: list[str] = []
    tokens = MarkdownIt("commonmark").parse(source)
    for number, token in enumerate(tokens):
        text = _block_text(token)
        if not text.strip():
            continue
        is_heading = token.type == "inline" and tokens[number - 1].type == "heading_open"
        if is_heading and heading is None:
            heading = text
            if not blocks:
                continue
        blocks.append(text)
    return heading, "\n\n".join(blocks)


def _block_text(token: Token) -> str:
    if token.type == "inline":
        return _inline_text(token.children or [])
    if token.type in {"code_block", "fence"}:
        return token.content.strip("\n")
    return "* * *" if token.type == "hr" else ""


def _inline_text(children: Sequence[Token]) -> str:
    text = "".join(_span_text(child) for child in children)
    lines = text.split("\v")
    is_verse = len(lines) >= _MIN_LINES_OF_VERSE and all(
        len(line) <= _LONGEST_LINE_OF_VERSE for line in lines
    )
    return ("\n" if is_verse else " ").join(lines)


def _span_text(token: Token) -> str:
    if token.type in {"text", "code_inline"}:
        return token.content
    if token.type == "softbreak":
        # Only marked here; the whole paragraph decides: prose is joined, verse keeps its lines.
        return "\v"
    is_break = token.type == "hardbreak" or (token.type == "html_inline" and _LINE_BREAK.match(token.content))
    return "\n" if is_break else ""
