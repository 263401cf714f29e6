"""Writes what comes from the code: the pages of commands and settings, and the defaults of cdk.json.

`make docs` runs this; tests/unit/test_generated_docs.py fails if a page is out of date.
"""

import json
import re
from collections.abc import Callable, Iterator
from inspect import getdoc, isfunction, signature
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click

from cli.app import app
from contracts import environment, s3_keys, statuses
from contracts.catalogue import CATALOGUE
from contracts.environment import EnvironmentGroup, variable
from contracts.setting_types import text_of
from contracts.settings_sections import SECTIONS

_LONGEST_SUMMARY = 120
"""Characters of a command's summary in the list of commands, where typer allows 45."""
_CHECKOUT = Path(__file__).resolve().parents[1]
_SETTINGS_HEAD = "| key | default | unit | meaning |\n|---|---|---|---|\n"
_NO_KEYS = (s3_keys.uri, s3_keys.split, s3_keys.below, s3_keys.bundled_for)
_CATALOGUE_HEAD = (
    "| name | model | licence | parameters | context | kind | download | machine |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


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
    """Return docs/settings.md with the settings and the catalogue of the code."""
    sections = "\n".join(
        f"## {(section.__doc__ or '').rstrip('.')}\n\n{_SETTINGS_HEAD}"
        + "".join(_setting_row(key, field) for key, field in section.model_fields.items())
        for section in SECTIONS
    )
    catalogue = "".join(
        f"| `{model.name}` | {model.id} | {model.licence} | {model.parameters_millions:,} M "
        f"| {model.context_length:,} | {'chat' if model.chat else 'plain'}{', gated' if model.gated else ''} "
        f"| {model.download_gb} GB | `{model.training_instance}` |\n"
        for model in CATALOGUE.values()
    )
    return _with_table(_with_block(page, "settings", sections), _CATALOGUE_HEAD, catalogue)


def _setting_row(key: str, field: FieldInfo) -> str:
    text = text_of(field)
    return f"| `{key}` | {_shown(field.default)} | {text.unit} | {text.meaning} |\n"


def contracts_page(page: str) -> str:
    """Return docs/contracts.md with the variables, keys and statuses of the code."""
    page = _with_block(page, "variables", _variables_table())
    page = _with_block(page, "keys", _keys_table())
    return _with_block(page, "statuses", _statuses_table())


def _variables_table() -> str:
    rows = "".join(
        f"| `{group.__name__}` | {', '.join(f'`{variable(name)}`' for name in sorted(group.model_fields))} "
        f"| {_first_line(group)} |\n"
        for group in vars(environment).values()
        if isinstance(group, type) and issubclass(group, EnvironmentGroup) and group is not EnvironmentGroup
    )
    return f"| group | variables | contents |\n|---|---|---|\n{rows}"


def _keys_table() -> str:
    rows = "".join(
        f"| `{make(*_placeholders(make))}` | {_first_line(make)} |\n"
        for make in vars(s3_keys).values()
        if isfunction(make) and make not in _NO_KEYS and not make.__name__.startswith("_")
        if make.__module__ == s3_keys.__name__
    )
    return f"| key | contents |\n|---|---|\n{rows}"


def _placeholders(make: Callable[..., str]) -> list[str | int]:
    return [0 if p.annotation is int else f"<{name}>" for name, p in signature(make).parameters.items()]


def _statuses_table() -> str:
    rows = "".join(
        f"| `{name}` | {', '.join(f'`{value}`' for value in get_args(type_))} |\n"
        for name, type_ in vars(statuses).items()
        if get_args(type_) and name[0].isupper() and name != "Final"
    )
    return f"| of | values |\n|---|---|\n{rows}"


def _first_line(described: Any) -> str:
    return str(getdoc(described)).splitlines()[0].replace("|", "\\|")


def cdk_json(page: str) -> str:
    """Return cdk.json with the default of every setting."""
    kept = json.loads(page)
    fields = [(key, field.default) for section in SECTIONS for key, field in section.model_fields.items()]
    lines = ",\n".join(f"    {json.dumps(key)}: {_as_json(default)}" for key, default in fields)
    return f'{{\n  "app": {json.dumps(kept["app"])},\n  "context": {{\n{lines}\n  }}\n}}\n'


def _as_json(default: Any) -> str:
    # JSON would write 0.00001 as 1e-05, which few people read at a glance.
    return _plain_number(default) if isinstance(default, float) else json.dumps(default)


def _plain_number(number: float) -> str:
    return f"{number:f}".rstrip("0").rstrip(".")


def _with_block(page: str, name: str, text: str) -> str:
    """Replace what stands between `<!-- name -->` and `<!-- end of name -->`."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{text}\n{end}{after}"


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
        return f"`{_plain_number(default)}`"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


PAGES: dict[str, Callable[[str], str]] = {
    "docs/commands.md": commands_page,
    "docs/contracts.md": contracts_page,
    "docs/settings.md": settings_page,
    "cdk.json": cdk_json,
}
"""Each file with the function that returns its text from the text that it has."""


def main() -> None:
    """Write every file."""
    for name, generate in PAGES.items():
        path = _CHECKOUT / name
        path.write_text(generate(path.read_text(encoding="utf-8") if path.exists() else ""), encoding="utf-8")


if __name__ == "__main__":
    main()
