"""A run on the terminal: its states, its losses as a curve, the trials of its search, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotext
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.api.client import StoryloomApi
from cli.console import CommandError
from contracts import statuses
from contracts.statuses import FINAL_RUN_STATUSES

POLL_SECONDS = 2.0
_MARKS = {
    statuses.SUCCEEDED: "[green]✓[/]",
    statuses.FAILED: "[red]✗[/]",
    statuses.RUNNING: "[yellow]…[/]",
}
_HEIGHT = 14
_NARROWEST = 40
_WIDEST = 100
_SERIES = (("train_loss", "stories it learns from"), ("validation_loss", "stories held back"))
_TRIAL_STATUS = {
    statuses.RUNNING: "training",
    statuses.SUCCEEDED: "done",
    statuses.STOPPED: "stopped early",
    statuses.FAILED: "failed",
}


def runs_table(runs: list[dict[str, Any]]) -> Table:
    """Draw one line for each run, in the order given."""
    table = Table(box=None, header_style="bold")
    for column in ("run", "status", "step", "stories", "perplexity", "message"):
        table.add_column(column)
    for run in runs:
        table.add_row(
            run["run_id"],
            run["status"],
            run.get("step") or "",
            str(run.get("stories") or ""),
            perplexities(run),
            run.get("message") or "",
        )
    return table


def perplexities(run: dict[str, Any]) -> str:
    """Return `41.0 → 30.2 (26% lower)`, or nothing before the evaluation."""
    base, tuned = run.get("base_perplexity"), run.get("tuned_perplexity")
    if not base or not tuned:
        return ""
    return f"{base:.1f} → {tuned:.1f} ({100 * (1 - tuned / base):.0f}% lower)"


def run_panel(run: dict[str, Any]) -> RenderableType:
    """Draw a run: its states so far, its last training metrics and, at the end, its outcome."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    for state in run.get("states", []):
        seconds = state.get("seconds")
        table.add_row(
            _MARKS.get(state["status"], state["status"]),
            state["name"],
            f"{seconds:.0f} s" if seconds is not None else "",
        )
    lines: list[RenderableType] = [Text(f"run {run['run_id']}: {run['status']}"), table]
    if search := run.get("search"):
        lines.append(trials_table(search))
    if metrics := run.get("metrics"):
        lines += [LossCurve(metrics), Text(_training_line(metrics[-1], run.get("progress")))]
    if run.get("message"):
        lines.append(Text(run["message"]))
    if run["status"] == statuses.WAITING:
        lines.append(Text(how_to_answer(run), style="bold"))
    if run["status"] == statuses.FAILED and (failure := run.get("failure")):
        lines.append(Text(f"{failure.get('step', '')}: {failure.get('cause', '')}", style="red"))
        if failure.get("log_tail"):
            lines.append(Text(str(failure["log_tail"]), style="dim"))
    return Group(*lines)


def how_to_answer(run: dict[str, Any]) -> str:
    """Return how to approve or decline a run that waits, and until when."""
    until = f" before {run['waits_until'][:16].replace('T', ' ')} UTC" if run.get("waits_until") else ""
    return (
        f"It waits for your approval{until}: "
        f"storyloom approve {run['run_id']} (or: storyloom decline {run['run_id']})"
    )


def _training_line(metric: dict[str, Any], progress: dict[str, Any] | None) -> str:
    """Return `step 30  train loss 2.500  of 120 steps  512 tokens/s  …`, as far as it is known."""
    parts = [f"step {metric['step']}"] if metric.get("step") is not None else []
    for name in ("train_loss", "validation_loss"):
        if metric.get(name) is not None:
            parts.append(f"{name.replace('_', ' ')} {metric[name]:.3f}")
    return "  ".join(parts + _pace(progress or {}))


def _pace(progress: dict[str, Any]) -> list[str]:
    parts = []
    if progress.get("step"):
        parts.append(f"of {progress['of']} steps")
    if progress.get("seconds_left"):
        parts.append(f"about {in_words(progress['seconds_left'])} left")
    if progress.get("tokens_per_second") is not None:
        parts.append(f"{progress['tokens_per_second']:,.0f} tokens/s")
    if progress.get("cost_usd") is not None:
        parts.append(f"${progress['cost_usd']:.2f} so far at the price on demand")
    return parts


def wait_for_new_run(
    api: StoryloomApi, known: set[str], timeout_s: float, on_wait: Callable[[float], None] = lambda _: None
) -> str:
    """Wait until a run that is not in `known` appears; return its id."""
    started = time.monotonic()
    while (waited := time.monotonic() - started) < timeout_s:
        for run in api.runs():
            if run["run_id"] not in known:
                return str(run["run_id"])
        on_wait(waited)
        time.sleep(1.0)
    raise CommandError(
        f"No run started within {timeout_s:.0f} s.",
        "A run starts when the bucket has been quiet for `quiet_seconds`; look at `storyloom runs`.",
    )


def follow_run(
    api: StoryloomApi, run_id: str, console: Console, timeout_s: float = 24 * 3600
) -> dict[str, Any]:
    """Show a run until it has finished; return its last record. A log gets one line for each state."""
    deadline = time.monotonic() + timeout_s
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            return _poll(api, run_id, deadline, lambda run: live.update(run_panel(run)))
    return _poll(api, run_id, deadline, _StateLines(console))


class _StateLines:
    """Prints each state once when it begins, and training metrics as they arrive, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed: set[str] = set()

    def __call__(self, run: dict[str, Any]) -> None:
        lines = [f"  {state['name']}" for state in run.get("states", [])]
        if search := run.get("search"):
            lines += [f"    {line}" for line in trial_lines(search)]
        if metrics := run.get("metrics"):
            lines.append(f"    {_training_line(metrics[-1], run.get('progress'))}")
        if run["status"] == statuses.WAITING:
            lines += [f"    {run.get('message') or ''}", f"    {how_to_answer(run)}"]
        for line in lines:
            if line not in self._printed:
                self._printed.add(line)
                self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _poll(
    api: StoryloomApi, run_id: str, deadline: float, show: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    while True:
        run = api.run(run_id)
        show(run)
        if run["status"] in FINAL_RUN_STATUSES:
            return run
        if time.monotonic() > deadline:
            raise CommandError(f"Run {run_id} is still in {run.get('step')}; stopped waiting for it.")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class LossCurve:
    """Both losses by step; empty if there are fewer than two points or the terminal is too narrow."""

    metrics: Sequence[dict[str, Any]]
    """`{"step", "train_loss", "validation_loss"}`, as the API has them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the curve as wide as the terminal allows."""
        series = [(label, self._points(name)) for name, label in _SERIES]
        drawn = [(label, points) for label, points in series if points]
        if options.max_width < _NARROWEST or max((len(points) for _, points in drawn), default=0) < 2:
            return
        unicode = not options.ascii_only
        plotext.clear_figure()
        plotext.theme("pro" if console.color_system else "clear")
        plotext.plot_size(min(_WIDEST, options.max_width), _HEIGHT)
        plotext.title("loss by step: lower is better")
        for label, points in drawn:
            plotext.plot(
                [step for step, _ in points],
                [loss for _, loss in points],
                label=label,
                marker="braille" if unicode else ("+" if label == _SERIES[0][1] else "o"),
            )
        steps = sorted({step for _, points in drawn for step, _ in points})
        ticks = sorted({steps[len(steps) * part // 4] for part in range(4)} | {steps[-1]})
        plotext.xticks(ticks, [str(step) for step in ticks])
        yield Text.from_ansi(plotext.build())

    def _points(self, name: str) -> list[tuple[int, float]]:
        return [(row["step"], row[name]) for row in self.metrics if row.get(name) is not None]


def trials_table(search: dict[str, Any]) -> Group:
    """Draw one line for each trial, in the order in which they began; the best so far is marked."""
    trials = search["trials"]
    progress = f"Trial {len(trials)} of at most {search['of']}"
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
            _trial_loss(trial),
            in_words(trial["seconds"]) if trial["seconds"] else "",
            _trial_status(trial),
        )
    return Group(Text(f"{progress}: the lowest validation loss wins{_search_cost(search)}"), table)


def trial_lines(search: dict[str, Any]) -> list[str]:
    """Return a line for each trial that began, and one for each that ended."""
    lines = []
    for number, trial in enumerate(search["trials"], 1):
        lines.append(
            f"trial {number} of at most {search['of']}: rank {trial['lora_rank']}, "
            f"learning rate {trial['learning_rate']:.2g}, up to {trial['epochs']} epochs"
        )
        if trial["status"] != statuses.RUNNING:
            loss = _trial_loss(trial)
            lines.append(f"trial {number}: {_trial_status(trial)}{loss and f', validation loss {loss}'}")
    return lines


def _search_cost(search: dict[str, Any]) -> str:
    cost = search.get("cost_usd")
    return "" if cost is None else f"; ${cost:.2f} so far at the price on demand"


def _trial_loss(trial: dict[str, Any]) -> str:
    loss = trial.get("validation_loss")
    return "" if loss is None else f"{loss:.3f}"


def _trial_status(trial: dict[str, Any]) -> str:
    progress = trial.get("progress")
    if trial["status"] == statuses.RUNNING and progress:
        return f"step {progress['step']} of {progress['of']}"
    return _TRIAL_STATUS[trial["status"]]


def in_words(seconds: float) -> str:
    """Return a duration as people write it: `45 s`, `12 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
