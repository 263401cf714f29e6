"""A run as a person wants to watch it: each state with its seconds, and what the training says meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.api import StoryloomApi
from cli.curve import LossCurve
from cli.durations import in_words
from cli.errors import CommandError
from cli.trials import trial_lines, trials_table

POLL_SECONDS = 2.0
FINISHED = {
    "succeeded",
    "not_better",
    "pending_approval",
    "stopped_early",
    "declined",
    "superseded",
    "failed",
}
_MARKS = {"succeeded": "[green]✓[/]", "failed": "[red]✗[/]", "running": "[yellow]…[/]"}


def runs_table(runs: list[dict[str, Any]]) -> Table:
    """One line a run, newest first."""
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
    """`41.0 → 30.2 (26% lower)`, or nothing before the evaluation."""
    base, tuned = run.get("base_perplexity"), run.get("tuned_perplexity")
    if not base or not tuned:
        return ""
    return f"{base:.1f} → {tuned:.1f} ({100 * (1 - tuned / base):.0f}% lower)"


def run_panel(run: dict[str, Any]) -> RenderableType:
    """The run's states so far, its last training metrics and, at the end, its outcome."""
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
    if run["status"] == "waiting":
        lines.append(Text(how_to_answer(run), style="bold"))
    if run["status"] == "failed" and (failure := run.get("failure")):
        lines.append(Text(f"{failure.get('step', '')}: {failure.get('cause', '')}", style="red"))
        if failure.get("log_tail"):
            lines.append(Text(str(failure["log_tail"]), style="dim"))
    return Group(*lines)


def how_to_answer(run: dict[str, Any]) -> str:
    """How to say yes or no to a run that waits, and by when."""
    until = f" before {run['waits_until'][:16].replace('T', ' ')} UTC" if run.get("waits_until") else ""
    return (
        f"It goes on when you say so{until}: "
        f"storyloom approve {run['run_id']} (or: storyloom decline {run['run_id']})"
    )


def _training_line(metric: dict[str, Any], progress: dict[str, Any] | None) -> str:
    """`step 30  train loss 2.500  of 120 steps  512 tokens/s  about 3 min left  …`, as far as it is known."""
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
    """Waits until a run that is not in `known` appears, and gives its id."""
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
    """Shows a run until it has finished, and gives its last record. A plain terminal gets a line a state."""
    deadline = time.monotonic() + timeout_s
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            return _poll(api, run_id, deadline, lambda run: live.update(run_panel(run)))
    return _poll(api, run_id, deadline, _StateLines(console))


class _StateLines:
    """For logs: prints each state once when it begins, and training metrics as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[str] = set()

    def __call__(self, run: dict[str, Any]) -> None:
        lines = [f"  {state['name']}" for state in run.get("states", [])]
        if search := run.get("search"):
            lines += [f"    {line}" for line in trial_lines(search)]
        if metrics := run.get("metrics"):
            lines.append(f"    {_training_line(metrics[-1], run.get('progress'))}")
        if run["status"] == "waiting":
            lines += [f"    {run.get('message') or ''}", f"    {how_to_answer(run)}"]
        for line in lines:
            if line not in self._said:
                self._said.add(line)
                self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _poll(
    api: StoryloomApi, run_id: str, deadline: float, show: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    while True:
        run = api.run(run_id)
        show(run)
        if run["status"] in FINISHED:
            return run
        if time.monotonic() > deadline:
            raise CommandError(f"Run {run_id} is still in {run.get('step')}; stopped waiting for it.")
        time.sleep(POLL_SECONDS)
