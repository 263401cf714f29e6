"""What others wrote never reaches the terminal as a command."""

import io
import json

import pytest
from rich.panel import Panel
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from cli.console import PlainConsole, print_json

HOSTILE = "\x1b]0;title\x07 \x1b[2J\x9b31m \x1b]52;c;Zm9v\x1b\\ \r\b \u202etxt.exe"
COMMANDS = "\x1b\x07\x08\x0d\x9b\u202e"


def shown(*renderables: object, **named: object) -> str:
    screen = io.StringIO()
    PlainConsole(file=screen, force_terminal=True, color_system=None, width=200).print(*renderables, **named)  # type: ignore[arg-type]
    return screen.getvalue()


def _table() -> Table:
    table = Table("name")
    table.add_row(Text(HOSTILE))
    return table


@pytest.mark.parametrize(
    "renderable",
    [HOSTILE, Text(HOSTILE), Panel(Text(HOSTILE)), _table()],
    ids=["str", "text", "panel", "table"],
)
def test_a_hostile_name_is_shown_as_text(renderable: object) -> None:
    for options in ({"markup": False}, {"markup": False, "soft_wrap": True, "end": ""}):
        printed = shown(renderable, **options)
        assert not set(COMMANDS) & set(printed)
        assert "title" in printed


def test_a_progress_bar_still_moves_and_its_description_is_text() -> None:
    screen = io.StringIO()
    console = PlainConsole(file=screen, force_terminal=True, width=100)
    with Progress(console=console) as progress:
        progress.add_task(HOSTILE.replace("[", "("), total=1)
    assert "\x1b[?25l" in screen.getvalue()  # rich's own: the cursor is hidden
    assert not {"\x07", "\x9b", "\u202e"} & set(screen.getvalue())
    assert "\x1b]" not in screen.getvalue()


def test_stories_in_every_language_are_shown_as_they_are() -> None:
    told = "Es war einmal, «été» 昔々 🐉 \u05d0\u05d1\tund\nEnde"
    assert told.replace("\t", "").replace("\n", "") in shown(Text(told.replace("\t", ""))).replace("\n", "")


def test_json_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": HOSTILE, "story": "été"})
    printed = capsys.readouterr().out
    assert not set(COMMANDS) & set(printed)
    assert "été" in printed
    assert json.loads(printed)["name"] == HOSTILE
