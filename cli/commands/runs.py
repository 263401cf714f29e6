"""`storyloom start`, `stop`, `runs`, `approve` and `decline`: trainings, from their start to their end."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.api.client import StoryloomApi
from cli.api.connection import connect
from cli.console import AsJson, CommandError, notes, out, print_json, print_message
from cli.run_progress import follow_run, run_panel, runs_table
from contracts import statuses

RunId = Annotated[str, typer.Argument(help="The run's id, as `storyloom runs` lists it.")]


def start(
    from_run: Annotated[
        str, typer.Option("--from", metavar="RUN", help="A failed run, to resume at the step that failed.")
    ] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Train even if nothing has changed since the last training.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a run with all stories now, without new ones. If a run is in progress, another starts after it.

    If stories and settings are those of the last run that trained, the run ends before anything is paid for;
    with --again it trains anyway.

    With --from a failed run resumes at the step that failed and keeps its results: nothing is trained twice.
    """
    api = StoryloomApi(connect())
    started = api.resume_run(from_run) if from_run else api.start_run(again=again)
    print_message(started, as_json)
    if not as_json:
        _print_how_to_watch(started["run_id"])


def stop(run_id: RunId, as_json: AsJson = False) -> None:
    """Stop a run in progress, with its job. Your stories and the live version stay as they are."""
    print_message(StoryloomApi(connect()).stop_run(run_id), as_json)
    if not as_json:
        _print_how_to_watch(run_id)


def _print_how_to_watch(run_id: str) -> None:
    out.print(f"Watch it with: storyloom runs {run_id} --follow", highlight=False, markup=False)


def runs(
    run_id: Annotated[str | None, typer.Argument(help="One run's id; without it, all of them.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch it until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs, or show one: its states, its losses, its report, and why it failed."""
    api = StoryloomApi(connect())
    listed = api.runs()
    if follow and run_id is None:
        if not listed:
            raise CommandError("There is no run to follow.", "Start one with `storyloom upload FOLDER`.")
        run_id = listed[0]["run_id"]
    if run_id is None:
        print_json(listed) if as_json else out.print(runs_table(listed))
        return
    run = follow_run(api, run_id, notes) if follow else api.run(run_id)
    print_json(run) if as_json else out.print(run_panel(run))
    if run["status"] == statuses.FAILED:
        raise typer.Exit(1)


def approve(run_id: RunId, as_json: AsJson = False) -> None:
    """Approve a run that waits before it trains (setting ask_before_training)."""
    _print_decision(StoryloomApi(connect()).approve(run_id), as_json)


def decline(run_id: RunId, as_json: AsJson = False) -> None:
    """Decline a run that waits: it ends, nothing is spent on a GPU, your stories stay as they are."""
    _print_decision(StoryloomApi(connect()).decline(run_id), as_json)


def _print_decision(run: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    out.print(f"run {run['run_id']}: {run.get('message') or run['status']}", highlight=False, markup=False)
    _print_how_to_watch(run["run_id"])
