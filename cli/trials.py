"""The trials of a search: a table for a terminal, lines for a log."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.durations import in_words

_STATUS = {"running": "training", "succeeded": "done", "stopped": "stopped early", "failed": "failed"}


def trials_table(search: dict[str, Any]) -> Group:
    """One line a trial, in the order in which they began; the best so far is marked."""
    trials = search["trials"]
    place = f"Trial {len(trials)} of at most {search['of']}"
    table = Table(box=None, header_style="bold")
    for column in ("", "trial", "rank", "learning rate", "epochs", "validation loss", "time", ""):
        table.add_column(column)
    for number, trial in enumerate(trials, 1):
        table.add_row(
            "[green]★[/]" if trial["best"] else "",
            str(number),
            str(trial["lora_rank"]),
            f"{trial['learning_rate']:.2g}",
            f"up to {trial['epochs']}",
            _loss(trial),
            in_words(trial["seconds"]) if trial["seconds"] else "",
            _status(trial),
        )
    return Group(
        Text(f"{place}: the lowest validation loss is kept{_cost(search)}"),
        table,
    )


def trial_lines(search: dict[str, Any]) -> list[str]:
    """A line for each trial's beginning, and one for its end."""
    lines = []
    for number, trial in enumerate(search["trials"], 1):
        lines.append(
            f"trial {number} of at most {search['of']}: rank {trial['lora_rank']}, "
            f"learning rate {trial['learning_rate']:.2g}, up to {trial['epochs']} epochs"
        )
        if trial["status"] != "running":
            loss = _loss(trial)
            lines.append(f"trial {number}: {_status(trial)}{loss and f', validation loss {loss}'}")
    return lines


def _cost(search: dict[str, Any]) -> str:
    cost = search.get("cost_usd")
    return "" if cost is None else f"; ${cost:.2f} so far at the price on demand"


def _loss(trial: dict[str, Any]) -> str:
    loss = trial.get("validation_loss")
    return "" if loss is None else f"{loss:.3f}"


def _status(trial: dict[str, Any]) -> str:
    progress = trial.get("progress")
    if trial["status"] == "running" and progress:
        return f"step {progress['step']} of {progress['of']}"
    return _STATUS[trial["status"]]
