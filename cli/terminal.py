"""Consoles that show what others wrote as text: none of it reaches the terminal as a command.

Names, titles, answers and messages come from servers and files. An escape sequence in them could rewrite what
the screen shows, set the window's title or fill the clipboard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All control characters but tab and line feed, and those that override the direction of writing."""
_SHOWN = "\N{REPLACEMENT CHARACTER}"


def visible(text: str) -> str:
    """Return a text with a mark in place of each character that a terminal would obey."""
    return _CONTROLS.sub(_SHOWN, text)


def visible_json(document: str) -> str:
    """Return a JSON document with such characters escaped as JSON escapes them."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


class PlainConsole(Console):
    """A console whose text holds no control characters but its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as usual; what rich itself tells the terminal comes as control segments and as styles."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)
