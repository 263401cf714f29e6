"""`storyloom models`: the versions of the model: list, compare, activate, approve and reject."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from cli.api.client import StoryloomApi
from cli.api.connection import connect
from cli.console import AsJson, CommandError, out, print_json, print_message
from cli.run_progress import perplexities

app = typer.Typer(
    help="The versions of the model: list, compare, activate, approve, reject.",
    invoke_without_command=True,
)

Version = Annotated[str, typer.Argument(help="A version, such as v3.")]

_COMPARED = (
    ("status", "status"),
    ("created", "created_at"),
    ("run", "run_id"),
    ("stories", "stories"),
    ("words", "words"),
    ("base model", "base_model"),
    ("revision", "base_revision"),
    ("perplexity of the base model", "base_perplexity"),
    ("its own perplexity", "tuned_perplexity"),
    ("perplexity of the version before it", "live_perplexity"),
    ("the gate", "decision"),
    ("decided by", "decided_by"),
    ("adapter", "adapter_sha256"),
)


@app.callback()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the versions, newest first."""
    if context.invoked_subcommand is not None:
        return
    listed = StoryloomApi(connect()).models()
    if as_json:
        print_json(listed)
    elif listed:
        out.print(models_table(listed))
    else:
        out.print("There is no version yet. Upload stories: a run trains the first one.")


@app.command()
def compare(first: Version, second: Version, as_json: AsJson = False) -> None:
    """Compare two versions side by side."""
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
    out.print(perplexity_difference(*pair), highlight=False)


@app.command()
def activate(version: Version, as_json: AsJson = False) -> None:
    """Make an approved version the live one, such as the version before."""
    print_message(StoryloomApi(connect()).decide_version(version, "activate"), as_json)


@app.command()
def approve(version: Version, as_json: AsJson = False) -> None:
    """Approve a version that waits (setting approval = manual), or that the gate rejected."""
    print_message(StoryloomApi(connect()).decide_version(version, "approve"), as_json)


@app.command()
def reject(version: Version, as_json: AsJson = False) -> None:
    """Reject a version: it is kept, and does not go live."""
    print_message(StoryloomApi(connect()).decide_version(version, "reject"), as_json)


def models_table(listed: list[dict[str, Any]]) -> Table:
    """Draw one line for each version."""
    table = Table(box=None, header_style="bold")
    for column in ("version", "status", "created", "stories", "words", "perplexity", "the gate"):
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
    """Draw the figures of two versions, one line for each."""
    table = Table(box=None, header_style="bold")
    for column in ("", first["version"], second["version"]):
        table.add_column(column)
    for label, field in _COMPARED:
        table.add_row(label, _shown(first, field), _shown(second, field))
    return table


def perplexity_difference(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Describe which of two versions has the lower perplexity on stories that it had not seen."""
    one, other = first.get("tuned_perplexity"), second.get("tuned_perplexity")
    if not one or not other:
        return "One of them has no perplexity, so they cannot be compared."
    better, worse = (first, second) if one <= other else (second, first)
    less = 100 * (1 - min(one, other) / max(one, other))
    caution = (
        " Each was measured with the held-out stories of its own run, so a small difference means little."
        if first["run_id"] != second["run_id"]
        else ""
    )
    return (
        f"The perplexity of {better['version']} on unseen stories is {less:.1f}% lower than that of "
        f"{worse['version']}.{caution}"
    )


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
