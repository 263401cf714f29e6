"""The command `storyloom verify`."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status as Spinner

from cli.aws_account import open_account
from cli.errors import CommandError
from cli.output import AsJson, print_json
from cli.verify.lines import LINES, Line, chosen, estimated_usd, prove_all
from cli.verify.outcome import LineResult, Outcome, outcome_table
from cli.verify.world import World, find_app

out = Console()
notes = Console(stderr=True)

_CHECKOUT = Path(__file__).resolve().parents[2]

Profile = Annotated[str | None, typer.Option(help="AWS profile; else what the environment says.")]
Region = Annotated[str | None, typer.Option(help="AWS region; else the profile's.")]
Name = Annotated[str | None, typer.Option(help="The app's name; else that of cdk.json.")]
Stories = Annotated[Path, typer.Option(help="Stories to learn from, if there is no version yet.")]
Only = Annotated[list[str], typer.Option(help="Prove this line, and those it needs. May be repeated.")]
Skip = Annotated[list[str], typer.Option(help="Leave this line out. May be repeated.")]
Limit = Annotated[float, typer.Option(help="Dollars that it may cost; what would cost more is not begun.")]
Out = Annotated[Path, typer.Option("--out", help="Where the JSON file goes.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs.")]
Keep = Annotated[bool, typer.Option("--keep-stories", help="Leave the uploaded stories in the bucket.")]
Listed = Annotated[bool, typer.Option("--list", help="List the lines with what each may cost, and end.")]


def verify(  # noqa: PLR0917 - options, which typer passes by name
    profile: Profile = None,
    region: Region = None,
    name: Name = None,
    stories: Stories = _CHECKOUT / "sample_stories",
    only: Only = [],  # noqa: B006 - typer copies it
    skip: Skip = [],  # noqa: B006
    limit_usd: Limit = 1.0,
    out_file: Out = Path("storyloom-verify.json"),
    *,
    yes: Yes = False,
    keep_stories: Keep = False,
    listed: Listed = False,
    as_json: AsJson = False,
) -> None:
    """Prove that a deployment works, line by line, with a short real run.

    Needs the credentials that you deployed with, and no sign-in: it makes a person of its own in the user
    pool, and removes them afterwards. Before there is a version it uploads the sample stories, lets the run
    that they start train a version, and takes the stories away again. If a version is live, it looks at the
    run that trained it, uploads one small file, and stops the run that this starts before it trains.

    It says first what it may cost, and asks. A line that could take the whole above --limit-usd is not begun,
    and a training that reaches the limit is stopped. At the end the model sleeps, unless it was awake before.

    The JSON file has no story text, account number or address in it: attach it to an issue if a line fails.

    Exit code 0: every line is proven. 1: a line failed or could not be tried.

    Examples:

      storyloom verify

      storyloom verify --list

      storyloom verify --only stream --only stop

      storyloom verify --skip batch --limit-usd 0.7 --yes --json
    """
    settings = _settings(name)
    account = open_account(profile, region)
    app = find_app(account, settings["name"], settings["training_instance"], settings["hosting_instance"])
    world = World(app, stories)
    lines = chosen(only, skip)
    if listed:
        for line in LINES:
            out.print(f"{line.id:14}{line.title:44}{_price(line, world)}", highlight=False, markup=False)
        return
    _announce(lines, world, limit_usd)
    if not yes and not app.is_local:
        _ask()
    outcome = Outcome(
        storyloom=metadata.version("storyloom"),
        region=account.region,
        local_cloud=app.is_local,
        started_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        settings={key: value for key, value in settings.items() if key != "name"},
    )
    interrupted = run_lines(lines, world, outcome, limit_usd=limit_usd, keep_stories=keep_stories)
    document = outcome.as_document()
    out_file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if as_json:
        print_json(document)
    else:
        out.print(outcome_table(outcome.lines))
        out.print(_summary(outcome, out_file), highlight=False, markup=False, soft_wrap=True)
    if interrupted:
        raise typer.Exit(130)
    if not outcome.is_proven:
        raise typer.Exit(1)


def run_lines(
    lines: tuple[Line, ...], world: World, outcome: Outcome, *, limit_usd: float, keep_stories: bool
) -> bool:
    """Prove the lines with a word about each, and clean up; returns whether Ctrl-C ended it."""
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
    """Keeps each result, and says it in one line."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def __call__(self, result: LineResult) -> None:
        self._outcome.lines.append(result)
        words = f"  {result.status.value:8}{result.title} ({result.seconds:,.1f} s)"
        notes.print(words, highlight=False, markup=False)


def _voices(spinner: Spinner) -> tuple[Any, Any]:
    """Return what is called with each line, and what shows its waiting."""
    current = {"title": ""}

    def begins(line: Line) -> None:
        current["title"] = line.title
        spinner.update(line.title)

    def say(words: str) -> None:
        # A file name or message may hold what rich would read as a style.
        spinner.update(f"{current['title']}: {words}".replace("[", "\\["))

    return begins, say


def _settings(name: str | None) -> dict[str, Any]:
    """Read what of the settings a reader of the outcome wants to know."""
    from stacks import settings  # noqa: PLC0415 (pydantic models that no other command needs)

    context = json.loads((_CHECKOUT / "cdk.json").read_text())["context"]
    if name:
        context["name"] = name
    found = settings.read(context)
    keys = ("name", "base_model", "training_instance", "hosting_instance", "instance_count", "spot")
    return {key: getattr(found, key) for key in keys}


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
        f"one is live. It never begins what would pass ${limit_usd:.2f}. Prices are on demand, in us-east-1.",
        highlight=False,
        soft_wrap=True,
    )


def _ask() -> None:
    if not sys.stdin.isatty():
        raise CommandError("Not an interactive terminal, and nothing was spent.", "Say yes with --yes.")
    if not typer.confirm("Begin?", err=True):
        raise CommandError("Nothing was begun, and nothing was spent.")


def _summary(outcome: Outcome, out_file: Path) -> str:
    proven = sum(line.status == "proven" for line in outcome.lines)
    cost = "unknown" if outcome.cost_usd is None else f"${outcome.cost_usd:.2f}"
    words = f"{proven} of {len(outcome.lines)} lines proven, cost at most {cost}. Written to {out_file}."
    if not outcome.is_proven:
        words += " Attach that file to an issue: it names no account and holds no text of yours."
    return words
