"""`storyloom models`: the versions of the model, side by side, and which of them answers."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from cli.api import StoryloomApi
from cli.connection import connect
from cli.errors import CommandError
from cli.output import AsJson, print_json
from cli.progress import perplexities
from cli.terminal import PlainConsole

app = typer.Typer(
    help="The versions of the model: list, compare, choose which answers, say yes or no.",
    invoke_without_command=True,
)
out = PlainConsole()

Version = Annotated[str, typer.Argument(help="A version, such as v3.")]

_COMPARED = (
    ("status", "status"),
    ("made", "created_at"),
    ("run", "run_id"),
    ("stories", "stories"),
    ("words", "words"),
    ("base model", "base_model"),
    ("revision", "base_revision"),
    ("perplexity of the base", "base_perplexity"),
    ("its own perplexity", "tuned_perplexity"),
    ("the one before it", "live_perplexity"),
    ("the gate", "decision"),
    ("decided by", "decided_by"),
    ("adapter", "adapter_sha256"),
)


@app.callback()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the versions, newest first; with a command, do something with one."""
    if context.invoked_subcommand is not None:
        return
    listed = StoryloomApi(connect()).models()
    if as_json:
        print_json(listed)
    elif listed:
        out.print(models_table(listed))
    else:
        out.print("There is no version yet. Add stories: a run makes the first one.")


@app.command()
def compare(first: Version, second: Version, as_json: AsJson = False) -> None:
    """Put two versions side by side."""
    listed = {model["version"]: model for model in StoryloomApi(connect()).models()}
    for version in (first, second):
        if version not in listed:
            known = ", ".join(listed) or "none yet"
            raise CommandError(f"There is no version {version}.", f"The versions are: {known}.")
    pair = [listed[first], listed[second]]
    if as_json:
        print_json(pair)
        return
    out.print(comparison_table(*pair))
    out.print(closeness(*pair), highlight=False)


@app.command()
def activate(version: Version, as_json: AsJson = False) -> None:
    """Have an approved version answer, such as the one before."""
    _say(StoryloomApi(connect()).decide_version(version, "activate"), as_json)


@app.command()
def approve(version: Version, as_json: AsJson = False) -> None:
    """Say yes to a version that waits (setting approval = manual), or that the gate refused."""
    _say(StoryloomApi(connect()).decide_version(version, "approve"), as_json)


@app.command()
def reject(version: Version, as_json: AsJson = False) -> None:
    """Say no to a version: it is kept, and never answers."""
    _say(StoryloomApi(connect()).decide_version(version, "reject"), as_json)


def models_table(listed: list[dict[str, Any]]) -> Table:
    """One line a version."""
    table = Table(box=None, header_style="bold")
    for column in ("version", "status", "made", "stories", "words", "perplexity", "the gate"):
        table.add_column(column)
    for model in listed:
        table.add_row(
            model["version"],
            model["status"],
            _shown(model, "created_at"),
            _shown(model, "stories"),
            _shown(model, "words"),
            perplexities(model),
            model.get("decision") or "",
        )
    return table


def comparison_table(first: dict[str, Any], second: dict[str, Any]) -> Table:
    """What is known of two versions, a line a fact."""
    table = Table(box=None, header_style="bold")
    for column in ("", first["version"], second["version"]):
        table.add_column(column)
    for label, field in _COMPARED:
        table.add_row(label, _shown(first, field), _shown(second, field))
    return table


def closeness(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Say which of two versions was less surprised by stories that it had not seen."""
    one, other = first.get("tuned_perplexity"), second.get("tuned_perplexity")
    if not one or not other:
        return "One of them was not measured, so their perplexities cannot be compared."
    better, worse = (first, second) if one <= other else (second, first)
    less = 100 * (1 - min(one, other) / max(one, other))
    caution = (
        " Each was measured with the held-out stories of its own run, so a small difference says little."
        if first["run_id"] != second["run_id"]
        else ""
    )
    return f"{better['version']} is {less:.1f}% less surprised than {worse['version']}.{caution}"


def _shown(model: dict[str, Any], field: str) -> str:
    value = model.get(field)
    if value is None:
        return ""
    if field.endswith("_at"):
        return str(value)[:16].replace("T", " ")
    if field in {"base_revision", "adapter_sha256"}:
        return str(value)[:16]
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _say(decided: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(decided)
    else:
        out.print(decided["message"], highlight=False, markup=False)
