"""What `storyloom verify` does: say what it may cost, prove the lines, clean up, and write the outcome."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import typer
from rich.status import Status as Spinner

from cli.app_context import ContextError, parse_overrides, read_context
from cli.aws_target import chosen_target, explained
from cli.errors import CommandError
from cli.output import print_json
from cli.terminal import PlainConsole
from cli.verify.lines import LINES, Line, chosen, estimated_usd, prove_all
from cli.verify.outcome import LineResult, Outcome, Status, outcome_table
from cli.verify.world import World, find_app
from stacks import settings

out = PlainConsole()
notes = PlainConsole(stderr=True)

_CHECKOUT = Path(__file__).resolve().parents[2]
_TOLD = ("base_model", "training_instance", "hosting_instance", "instance_count", "spot", "tune")
"""The settings that matter to a reader of the outcome."""


@dataclass(frozen=True)
class Choices:
    """Options of the command line."""

    profile: str
    region: str
    context: Sequence[str]
    state: Path
    stories: Path
    only: Sequence[str]
    skip: Sequence[str]
    limit_usd: float
    usd_per_hour: float | None
    out_file: Path
    yes: bool
    keep_stories: bool
    listed: bool
    as_json: bool


def verify_deployment(choices: Choices) -> int:
    """Verify a deployment.

    Returns:
        The exit code: 0 if every chosen line is proven, 1 if not, 130 after Ctrl-C.

    Raises:
        CommandError: there is no such deployment, or the question was not answered with yes.
    """
    chosen_settings = _settings(choices.context)
    target = chosen_target(_CHECKOUT, choices.state, choices.profile, choices.region)
    with explained():
        app = find_app(target, chosen_settings)
    world = World(
        app,
        choices.stories,
        quiet_seconds=chosen_settings.quiet_seconds,
        assumed_usd_per_hour=choices.usd_per_hour,
    )
    lines = chosen(choices.only, choices.skip)
    if choices.listed:
        for line in LINES:
            out.print(f"{line.id:14}{line.title:44}{_price(line, world)}", highlight=False, markup=False)
        return 0
    _announce(lines, world, choices.limit_usd)
    if not choices.yes and not app.is_local:
        _ask()
    outcome = Outcome(
        storyloom=metadata.version("storyloom"),
        region=target.region,
        local_cloud=app.is_local,
        started_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        settings={key: getattr(chosen_settings, key) for key in _TOLD},
    )
    interrupted = run_lines(
        lines, world, outcome, limit_usd=choices.limit_usd, keep_stories=choices.keep_stories
    )
    if world.base_model:
        outcome.settings["base_model"] = world.base_model
    document = outcome.as_document()
    choices.out_file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if choices.as_json:
        print_json(document)
    else:
        out.print(outcome_table(outcome.lines))
        out.print(_summary(outcome, choices.out_file), highlight=False, markup=False, soft_wrap=True)
    if interrupted:
        return 130
    return 0 if outcome.is_proven else 1


def run_lines(
    lines: tuple[Line, ...], world: World, outcome: Outcome, *, limit_usd: float, keep_stories: bool
) -> bool:
    """Prove the lines, print each, and clean up; returns whether Ctrl-C ended it."""
    started = time.monotonic()
    interrupted = False
    with notes.status("") as spinner:
        begins, world.say = _voices(spinner)
        try:
            prove_all(lines, world, limit_usd=limit_usd, begins=begins, ends=_Ends(outcome))
        except KeyboardInterrupt:
            interrupted = True
            notes.print("Stopped. Cleaning up what this made.", highlight=False)
        finally:
            spinner.update("cleaning up")
            for left in world.clean_up(keep_stories):
                notes.print(f"  left behind: {left}", style="yellow", highlight=False, markup=False)
    notes.print(f"{time.monotonic() - started:,.0f} s in all", highlight=False)
    return interrupted


class _Ends:
    """Keeps each result, and prints it in one line."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def __call__(self, result: LineResult) -> None:
        self._outcome.lines.append(result)
        words = f"  {result.status.value:8}{result.title} ({result.seconds:,.1f} s)"
        notes.print(words, highlight=False, markup=False)


def _voices(spinner: Spinner) -> tuple[Callable[[Line], None], Callable[[str], None]]:
    """Return what is called with each line, and what shows what it waits for."""
    current = {"title": ""}

    def begins(line: Line) -> None:
        current["title"] = line.title
        spinner.update(line.title)

    def say(words: str) -> None:
        # A file name or message may hold what rich would read as a style.
        spinner.update(f"{current['title']}: {words}".replace("[", "\\["))

    return begins, say


def _settings(given: Sequence[str]) -> settings.Settings:
    try:
        return settings.read(read_context(_CHECKOUT, parse_overrides(given)))
    except ContextError as error:
        raise CommandError(str(error), error.cure) from error
    except ValueError as error:
        raise CommandError(str(error)) from error


def _price(line: Line, world: World) -> str:
    price = estimated_usd(line, world)
    return "price not known" if price is None else f"about ${price:.2f}" if price else ""


def _announce(lines: tuple[Line, ...], world: World, limit_usd: float) -> None:
    if world.app.is_local:
        notes.print("This is the local cloud: nothing costs anything.", highlight=False)
        return
    prices = [estimated_usd(line, world) for line in lines]
    known = sum(price for price in prices if price is not None)
    unknown = ", and lines whose price is not known" if None in prices else ""
    notes.print(
        f"{len(lines)} lines, about an hour and ${known:.2f}{unknown} if there is no version yet; less if "
        f"one is live. Nothing is begun that would pass ${limit_usd:.2f}. Prices: on demand, us-east-1.",
        highlight=False,
        soft_wrap=True,
    )


def _ask() -> None:
    if not sys.stdin.isatty():
        raise CommandError("Not an interactive terminal, and nothing was spent.", "Say yes with --yes.")
    if not typer.confirm("Begin?", err=True):
        raise CommandError("Nothing was begun, and nothing was spent.")


def _summary(outcome: Outcome, out_file: Path) -> str:
    proven = sum(line.status is Status.PROVEN for line in outcome.lines)
    words = (
        f"{proven} of {len(outcome.lines)} lines proven, for ${outcome.cost_usd:.2f} at prices on demand. "
        f"Written to {out_file}."
    )
    if not outcome.is_proven:
        words += " Attach that file to an issue: it names no account and holds no text of yours."
    return words
