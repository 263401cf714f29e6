"""Print untrusted text without control characters, so that none of it reaches the terminal as a command.

Names, titles, answers and messages come from servers and files. An escape sequence in them could rewrite the
screen, set the window's title or fill the clipboard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters except tab and line feed, and those that override the writing direction."""
_SHOWN = "\N{REPLACEMENT CHARACTER}"


def visible(text: str) -> str:
    """Return a text with a replacement character for each control character."""
    return _CONTROLS.sub(_SHOWN, text)


def visible_json(document: str) -> str:
    """Return a JSON document with control characters as JSON escape sequences."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


class PlainConsole(Console):
    """A console that prints no control characters of the text itself."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as usual, but replace control characters; rich's own are control segments and styles."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)
