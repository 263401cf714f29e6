"""The steps of `storyloom verify`: print what it may cost, prove the lines, clean up, write the report."""

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

from cli.aws.context import ContextError, parse_overrides, read_context
from cli.aws.target import aws_errors_explained, chosen_target
from cli.console import CommandError, notes, out, print_json
from cli.user_files import CHECKOUT
from cli.verify.lines import LINES, ProofLine, chosen, estimated_usd, prove_all
from cli.verify.outcome import LineResult, LineStatus, VerifyReport, results_table
from cli.verify.verification import Verification, find_app
from contracts import settings

_REPORTED_SETTINGS = ("base_model", "training_instance", "hosting_instance", "instance_count", "spot", "tune")
"""The settings that a reader of the report needs."""


@dataclass(frozen=True)
class VerifyOptions:
    """The options of `storyloom verify`."""

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


def verify_deployment(options: VerifyOptions) -> int:
    """Verify a deployment, and write the report.

    Returns:
        The exit code: 0 if every chosen line is proven, 1 if not, 130 after Ctrl-C.

    Raises:
        CommandError: there is no such deployment, or the user did not confirm.
    """
    app_settings = _settings(options.context)
    target = chosen_target(CHECKOUT, options.state, options.profile, options.region)
    with aws_errors_explained():
        app = find_app(target, app_settings)
    verification = Verification(
        app,
        options.stories,
        quiet_seconds=app_settings.quiet_seconds,
        assumed_usd_per_hour=options.usd_per_hour,
    )
    lines = chosen(options.only, options.skip)
    if options.listed:
        for line in LINES:
            out.print(
                f"{line.id:14}{line.title:44}{_price(line, verification)}", highlight=False, markup=False
            )
        return 0
    _print_plan(lines, verification, options.limit_usd)
    if not options.yes and not app.is_local:
        _confirm()
    report = VerifyReport(
        storyloom=metadata.version("storyloom"),
        region=target.region,
        local_cloud=app.is_local,
        started_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        settings={key: getattr(app_settings, key) for key in _REPORTED_SETTINGS},
    )
    interrupted = run_lines(
        lines, verification, report, limit_usd=options.limit_usd, keep_stories=options.keep_stories
    )
    if verification.base_model:
        report.settings["base_model"] = verification.base_model
    document = report.as_document()
    options.out_file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if options.as_json:
        print_json(document)
    else:
        out.print(results_table(report.lines))
        out.print(_summary(report, options.out_file), highlight=False, markup=False, soft_wrap=True)
    if interrupted:
        return 130
    return 0 if report.is_proven else 1


def run_lines(
    lines: tuple[ProofLine, ...],
    verification: Verification,
    report: VerifyReport,
    *,
    limit_usd: float,
    keep_stories: bool,
) -> bool:
    """Prove the lines, print each, and clean up; return whether Ctrl-C ended it."""
    started = time.monotonic()
    interrupted = False
    with notes.status("") as spinner:
        on_start, verification.show_progress = _progress_callbacks(spinner)
        try:
            prove_all(
                lines, verification, limit_usd=limit_usd, on_start=on_start, on_result=_ResultPrinter(report)
            )
        except KeyboardInterrupt:
            interrupted = True
            notes.print("Stopped. Deleting what this verification created.", highlight=False)
        finally:
            spinner.update("cleaning up")
            for left in verification.clean_up(keep_stories):
                notes.print(f"  not deleted: {left}", style="yellow", highlight=False, markup=False)
    notes.print(f"{time.monotonic() - started:,.0f} s in total", highlight=False)
    return interrupted


class _ResultPrinter:
    """Keeps each result, and prints it in one line."""

    def __init__(self, report: VerifyReport) -> None:
        self._report = report

    def __call__(self, result: LineResult) -> None:
        self._report.lines.append(result)
        words = f"  {result.status.value:8}{result.title} ({result.seconds:,.1f} s)"
        notes.print(words, highlight=False, markup=False)


def _progress_callbacks(spinner: Spinner) -> tuple[Callable[[ProofLine], None], Callable[[str], None]]:
    """Return a callback for the start of each line, and one that shows what it waits for."""
    current = {"title": ""}

    def on_start(line: ProofLine) -> None:
        current["title"] = line.title
        spinner.update(line.title)

    def show_progress(words: str) -> None:
        # rich would read [brackets] in a file name or message as a style.
        spinner.update(f"{current['title']}: {words}".replace("[", "\\["))

    return on_start, show_progress


def _settings(given: Sequence[str]) -> settings.Settings:
    try:
        return settings.read(read_context(CHECKOUT, parse_overrides(given)))
    except ContextError as error:
        raise CommandError(str(error), error.cure) from error
    except ValueError as error:
        raise CommandError(str(error)) from error


def _price(line: ProofLine, verification: Verification) -> str:
    price = estimated_usd(line, verification)
    return "price not known" if price is None else f"about ${price:.2f}" if price else ""


def _print_plan(lines: tuple[ProofLine, ...], verification: Verification, limit_usd: float) -> None:
    if verification.app.is_local:
        notes.print("This is the local cloud: nothing is billed.", highlight=False)
        return
    prices = [estimated_usd(line, verification) for line in lines]
    known = sum(price for price in prices if price is not None)
    unknown = ", and lines whose price is not known" if None in prices else ""
    notes.print(
        f"{len(lines)} lines, about an hour and ${known:.2f}{unknown} if there is no version yet; less if "
        f"one is live. Nothing is started that would exceed ${limit_usd:.2f}. Prices: on demand, us-east-1.",
        highlight=False,
        soft_wrap=True,
    )


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise CommandError(
            "Not an interactive terminal, so the question cannot be asked. Nothing was spent.",
            "Confirm it with --yes.",
        )
    if not typer.confirm("Start?", err=True):
        raise CommandError("Nothing was started, and nothing was spent.")


def _summary(report: VerifyReport, out_file: Path) -> str:
    proven = sum(line.status is LineStatus.PROVEN for line in report.lines)
    words = (
        f"{proven} of {len(report.lines)} lines proven, for ${report.cost_usd:.2f} at prices on demand. "
        f"Written to {out_file}."
    )
    if not report.is_proven:
        words += " Attach that file to an issue: it names no account and holds no text of yours."
    return words
