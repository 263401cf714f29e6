"""Writes the parts of docs/ that come from the code: the commands, the settings' defaults, the catalogue.

`make docs` runs this; tests/unit/test_generated_docs.py fails if a page is out of date.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click

from cli.app import app
from contracts.catalogue import CATALOGUE
from contracts.settings import Settings

_LONGEST_SUMMARY = 120
"""Characters of a command's summary in the list of commands, where typer allows 45."""
_DOCS = Path(__file__).resolve().parent
_SETTINGS_HEAD = "| key | default | meaning |\n|---|---|---|\n"
_CATALOGUE_HEAD = (
    "| name | model | licence | parameters | context | kind | download | machine |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


class MissingMeaningError(ValueError):
    """A setting has no line in docs/settings.md."""


def commands_page(_: str = "") -> str:
    """Return docs/commands.md: the help of every command of `storyloom`."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="storyloom", obj={})
    text = get_docs_for_click(obj=command, ctx=context, name="storyloom", title="The command line")
    for name, listed in _all_commands(command):
        short = f"* `{name}`: {listed.get_short_help_str()}\n"
        text = text.replace(short, f"* `{name}`: {listed.get_short_help_str(_LONGEST_SUMMARY)}\n", 1)
    note = "<!-- Written by `make docs` from the commands' own help: change that, never this page. -->\n\n"
    # In Markdown an example needs four spaces to be code; the terminal shows it with two.
    return note + re.sub(r"^  (?=\S)", "    ", text.strip(), flags=re.MULTILINE) + "\n"


def _all_commands(command: Any) -> Iterator[tuple[str, Any]]:
    for name, listed in getattr(command, "commands", {}).items():
        yield name, listed
        yield from _all_commands(listed)


def settings_page(page: str) -> str:
    """Return docs/settings.md with the defaults and the catalogue of the code; the meanings stay.

    Raises:
        MissingMeaningError: a setting has no meaning yet.
    """
    meanings = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| (.*) \|$", page, re.MULTILINE))
    missing = [key for key in Settings.model_fields if not meanings.get(key)]
    if missing:
        raise MissingMeaningError(
            f"docs/settings.md does not explain {', '.join(missing)}: add a line "
            f"`| `{missing[0]}` | default | what it means |` for each."
        )
    settings = "".join(
        f"| `{key}` | {_shown(field.default)} | {meanings[key]} |\n"
        for key, field in Settings.model_fields.items()
    )
    catalogue = "".join(
        f"| `{model.name}` | {model.id} | {model.licence} | {model.parameters_millions:,} M "
        f"| {model.context_length:,} | {'chat' if model.chat else 'plain'}{', gated' if model.gated else ''} "
        f"| {model.download_gb} GB | `{model.training_instance}` |\n"
        for model in CATALOGUE.values()
    )
    return _with_table(_with_table(page, _SETTINGS_HEAD, settings), _CATALOGUE_HEAD, catalogue)


def _with_table(page: str, head: str, rows: str) -> str:
    pattern = re.escape(head) + r"(?:\|[^\n]*\n)*"
    return re.sub(pattern, lambda _: head + rows, page, count=1)


def _shown(default: Any) -> str:
    """Return a default as cdk.json has it."""
    if default in ("", {}, ()):
        return "empty"
    if isinstance(default, tuple):
        return ", ".join(f"`{value}`" for value in default)
    if isinstance(default, float):
        return f"`{default:f}`".rstrip("0`").rstrip(".") + "`"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


PAGES: dict[str, Callable[[str], str]] = {"commands.md": commands_page, "settings.md": settings_page}
"""Each page with the function that returns its text from the text that it has."""


def main() -> None:
    """Write every page."""
    for name, generate in PAGES.items():
        path = _DOCS / name
        path.write_text(generate(path.read_text(encoding="utf-8") if path.exists() else ""), encoding="utf-8")


if __name__ == "__main__":
    main()
