"""`storyloom batch`: a file of prompts in, a file of answers out; nothing is spent before you confirm."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from cli.api.addresses import use_proxies
from cli.api.client import LONG_TIMEOUT, StoryloomApi
from cli.api.connection import connect
from cli.console import AsJson, CommandError, notes, out, print_json
from contracts import statuses

POLL_SECONDS = 3.0
RENEW_SECONDS = 30 * 60
"""A sign-in lasts an hour, a batch may take longer."""
MAX_FAILURES = 20
"""Requests in a row that may fail before the command gives up; the batch continues without it."""

File = Annotated[
    Path | None,
    typer.Argument(
        help="Prompts, one a line. Not needed with --resume, --stop or --list.", show_default=False
    ),
]
Model = Annotated[
    str, typer.Option(help="The model that answers: storyloom (the live version), v1, v2 … or base.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="The file for the answers; by default NAME.answers.jsonl beside FILE."),
]
MaxTokens = Annotated[int, typer.Option(help="The longest answer in tokens, unless a line sets its own.")]
Instance = Annotated[
    str | None, typer.Option(help="Another hosting instance of the settings, such as ml.g5.xlarge.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs.")]
Resume = Annotated[str | None, typer.Option(metavar="ID", help="Watch a batch again, and fetch its answers.")]
Stop = Annotated[str | None, typer.Option(metavar="ID", help="Stop a batch; the answers so far are kept.")]
Listed = Annotated[bool, typer.Option("--list", help="List your batches.")]


def batch(
    file: File = None,
    model: Model = "storyloom",
    out_file: Out = None,
    max_tokens: MaxTokens = 400,
    instance: Instance = None,
    *,
    yes: Yes = False,
    resume: Resume = None,
    stop: Stop = None,
    listed: Listed = False,
    as_json: AsJson = False,
) -> None:
    """Answer many prompts at once, on an instance that stops when it is done.

    FILE has a prompt on each line. A line is plain text, {"prompt": "…"}, {"messages": [...]}, or a line of
    OpenAI's batch files; a "custom_id" comes back with its answer. A line may name a model and settings.

    The file is uploaded and read first. The command prints the number of lines, the expected time and cost
    and the most that it can cost, and asks; a line that cannot be used is named with its number, and nothing
    is spent. Then a SageMaker transform job answers, and the answers are written as OpenAI's batches are.

    Ctrl-C leaves the batch running: storyloom batch --resume ID watches it again and fetches its answers.

    Exit code 0: every line is answered. 1: not all, or nothing was started.

    Examples:

      storyloom batch prompts.jsonl

      storyloom batch prompts.txt --model base --max-tokens 200 --out answers.jsonl --yes

      storyloom batch --resume 20261122-201530-1f3c

      jq -r .response.body.choices[0].message.content prompts.answers.jsonl
    """
    if sum([file is not None, resume is not None, stop is not None, listed]) != 1:
        raise CommandError(
            "Name a file of prompts, or one of --resume, --stop and --list.",
            "Read: storyloom batch --help",
        )
    api = StoryloomApi(connect())
    if listed:
        found = api.batches()
        print_json(found) if as_json else out.print(batches_table(found))
    elif stop is not None:
        stopped = api.stop_batch(stop)
        print_json(stopped) if as_json else _print_line(
            f"batch {stop}: {stopped['status']}. {_message(stopped)}"
        )
    elif resume is not None:
        known = api.batch(resume)
        if known["status"] in {statuses.UPLOADING, statuses.CHECKED}:
            raise CommandError(f"Batch {resume} was never started.", "Start a new one: storyloom batch FILE")
        own = _file_name_from_server(known["name"], otherwise=resume)
        _finish(resume, _unused(out_file or _answers_path(own)), as_json)
    elif file is not None:
        target = _unused(out_file or _answers_path(file))
        wanted = {"model": model, "max_tokens": max_tokens, "instance": instance}
        started = _start(api, file, wanted, yes=yes)
        _finish(started, target, as_json)


def _start(api: StoryloomApi, file: Path, wanted: dict[str, Any], *, yes: bool) -> str:
    """Upload the file, print what it will cost, ask, and start; return the batch's id."""
    if not file.is_file():
        raise CommandError(f"There is no file {file}.", "Give a file with a prompt on each line.")
    size = file.stat().st_size
    if not size:
        raise CommandError(f"{file} is empty.", "Give a file with a prompt on each line.")
    with file.open("rb") as content, notes.status(f"uploading {file.name}"):
        made = api.create_batch({**wanted, "name": file.name, "size": size}, content)
    batch_id = str(made["batch_id"])
    try:
        with notes.status("reading the lines"):
            checked = api.check_batch(batch_id)
        notes.print(_message(checked), highlight=False, markup=False, soft_wrap=True)
        notes.print(price_in_words(checked), highlight=False, markup=False, soft_wrap=True)
        if not yes:
            _confirm()
        api.start_batch(batch_id)
    except BaseException:
        # It was not started, and nobody would start it now.
        with suppress(CommandError, httpx.HTTPError):
            api.stop_batch(batch_id)
        raise
    return batch_id


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _confirm() -> None:
    if not _is_interactive():
        raise CommandError(
            "Not an interactive terminal, so the question cannot be asked. Nothing was spent.",
            "Confirm it with --yes.",
        )
    if not typer.confirm("Start it?", err=True):
        raise CommandError("Nothing was started, and nothing was spent.")


def price_in_words(checked: dict[str, Any]) -> str:
    """Describe the time and cost of a batch in two lines."""
    lines, instance = f"{checked['lines']:,} prompts", checked["instance"]
    if checked["minutes_estimate"] is None:
        takes = "how long it takes is not known"
    else:
        takes = f"about {checked['minutes_estimate']:,.0f} minutes"
    if checked["cost_at_most_usd"] is None:
        costs = "its price is not known: see aws.amazon.com/sagemaker/pricing"
    else:
        about = checked["cost_estimate_usd"]
        costs = "" if about is None else f"about ${about:.2f}, "
        costs += f"never above ${checked['cost_at_most_usd']:.2f} (prices of {checked['price_date']})"
    longest = f"It is stopped after {checked['longest_minutes']:,.0f} minutes."
    asked = f"{checked['model']} ({checked['version']} is live)"
    return f"{lines} for {asked} on {instance}: {takes}; {costs}.\n{longest}"


def _finish(batch_id: str, target: Path, as_json: bool) -> None:
    """Watch a batch until it has ended, and write its answers."""
    try:
        ended = follow_batch(batch_id)
        results = _fetch(batch_id, target)
    except KeyboardInterrupt:
        _print_how_to_resume(batch_id, target)
        raise typer.Exit(130) from None
    except httpx.HTTPError as error:
        _print_how_to_resume(batch_id, target)
        raise CommandError(f"Storyloom cannot be reached: {error}.") from error
    if as_json:
        print_json({"batch": ended, **results, "out": str(target)})
    else:
        _print_line(f"{_message(ended)} {results['answered']:,} answers are in {target}.")
        if results["failed"]:
            _print_line(
                f"{results['failed']:,} lines have no answer; the file has the error of each instead."
            )
        if ended.get("cost_usd") is not None:
            _print_line(f"cost: about ${ended['cost_usd']:.2f}")
    if results["failed"]:
        raise typer.Exit(1)


def follow_batch(batch_id: str, pause: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Show the progress of a batch until it has ended; return it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    api, signed_in = StoryloomApi(connect()), time.monotonic()
    failures = 0
    with Progress(*columns, console=notes, transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        printed = ""
        while True:
            try:
                if time.monotonic() - signed_in > RENEW_SECONDS:
                    api, signed_in = StoryloomApi(connect()), time.monotonic()
                seen = api.batch(batch_id)
                failures = 0
            except httpx.TransportError:
                failures += 1
                if failures > MAX_FAILURES:
                    raise
                pause(POLL_SECONDS)
                continue
            words = f"{seen['status']}: {_message(seen)}"
            progress.update(bar, description=words, total=seen["lines"], completed=seen["answered"])
            if words != printed and not notes.is_terminal:
                notes.print(f"  {words}", highlight=False, markup=False, soft_wrap=True)
            printed = words
            if seen["status"] in statuses.FINAL_BATCH_STATUSES:
                return seen
            pause(POLL_SECONDS)


def _fetch(batch_id: str, target: Path) -> dict[str, Any]:
    """Write the answers, completely or not at all; return the counts of the lines."""
    results = StoryloomApi(connect()).batch_results(batch_id)
    unfinished = target.with_name(f".{target.name}.part")
    url = results.pop("url")
    with httpx.stream("GET", url, timeout=LONG_TIMEOUT, trust_env=use_proxies(url)) as answer:
        if answer.is_error:
            answer.read()
            raise CommandError(
                f"The answers could not be fetched: {answer.status_code} {answer.text[:300]}",
                f"Try again: storyloom batch --resume {batch_id}",
            )
        unfinished.unlink(missing_ok=True)
        with unfinished.open("xb") as file:  # never through a link of that name
            for chunk in answer.iter_bytes():
                file.write(chunk)
    unfinished.replace(target)
    return results


def _unused(target: Path) -> Path:
    """Return the file if it does not exist yet, so that none is overwritten after the money is spent."""
    if target.exists():
        raise CommandError(f"{target} already exists.", "Give another file with --out, or move it away.")
    if not target.resolve().parent.is_dir():
        raise CommandError(f"There is no folder {target.parent}.", "Give another file with --out.")
    return target


def _file_name_from_server(name: str, otherwise: str) -> Path:
    """Return a file of the current folder: only the name may come from the server, not the path."""
    from stories.file_rules import printable  # noqa: PLC0415 (slow)

    plain = printable(name).replace("\\", "/").rpartition("/")[2]
    return Path(plain if plain.strip(".") else otherwise)


def _answers_path(file: Path) -> Path:
    return file.with_name(f"{file.stem}.answers.jsonl")


def _print_how_to_resume(batch_id: str, target: Path) -> None:
    notes.print("The batch continues without this command.", highlight=False)
    for what, option in (
        ("watch it again", f"--resume {batch_id} --out {target}"),
        ("stop it", f"--stop {batch_id}"),
    ):
        notes.print(f"  {what}: storyloom batch {option}", highlight=False, markup=False, soft_wrap=True)


def _message(batch: dict[str, Any]) -> str:
    return str(batch.get("message") or "")


def _print_line(words: str) -> None:
    out.print(words, highlight=False, markup=False, soft_wrap=True)


def batches_table(listed: list[dict[str, Any]]) -> Table:
    """Draw one line for each batch."""
    table = Table(box=None, header_style="bold")
    for column in ("id", "status", "file", "model", "answered", "cost", "message"):
        table.add_column(column)
    for one in listed:
        lines = "" if one["lines"] is None else f"{one['answered']:,} of {one['lines']:,}"
        cost = "" if one["cost_usd"] is None else f"${one['cost_usd']:.2f}"
        # A name is what somebody typed; rich would read [brackets] in it as a style.
        cells = (one["batch_id"], one["status"], one["name"], one["model"], lines, cost, _message(one))
        table.add_row(*(Text(cell) for cell in cells))
    return table
