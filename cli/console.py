"""What the command line prints: consoles for people, one JSON document for programs, errors with their cure.

Names, titles, answers and messages come from servers and files. An escape sequence in them could rewrite the
screen, set the window's title or fill the clipboard, so no control character of theirs reaches the terminal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from stories.file_rules import printable

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else.")]

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All control characters except tab and line feed, and those that override the direction of writing."""


class CommandError(Exception):
    """A failure that the user can fix: the command prints the message and its cure, and exits with 1."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


class PlainConsole(Console):
    """A console that prints control characters in a text as their code points, such as `<U+001B>`."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as usual; rich's own commands to the terminal come as control segments and styles."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(_escape_controls(segment.text), segment.style)


out = PlainConsole()
notes = PlainConsole(stderr=True)
"""For progress and questions, so that `--json` leaves standard output to the document."""


def print_json(content: Any) -> None:
    """Print a value as one line of JSON on standard output, with control characters escaped."""
    document = json.dumps(content, ensure_ascii=False)
    sys.stdout.write(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", document) + "\n")


def print_message(done: dict[str, Any], as_json: bool) -> None:
    """Print the API's answer: its message, or all of it as JSON."""
    if as_json:
        print_json(done)
    else:
        # A command that is to be copied must not be wrapped.
        out.print(done["message"] or done["status"], highlight=False, markup=False, soft_wrap=True)


def _escape_controls(text: str) -> str:
    return _CONTROLS.sub(lambda found: printable(found[0]), text)
