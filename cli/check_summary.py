"""A data report on the terminal: what was used, what was not and why, the verdict, the cost."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stories.report.data_report import DataReport, Grade, RejectGroup, group_rejects
from stories.report.formatting import (
    count_noun,
    format_count,
    format_dollars,
    format_minutes,
    language_name,
    safe_text,
)

_STYLES: dict[Grade, str] = {
    "far too little": "red",
    "too little": "yellow",
    "enough": "green",
    "plenty": "green",
}
_MOST_REASONS = 12
_MOST_NAMES = 5


def summary_of(report: DataReport) -> RenderableType:
    """Draw a report in about a screenful."""
    parts: list[RenderableType] = [
        Text(report.verdict, style=_STYLES[report.grade]),
        Text(),
        _figures(report),
    ]
    if report.rejected:
        parts += [Text(), Text("What could not be used, and what helps", style="bold"), *_faults(report)]
    return Padding(Group(*parts), (1, 0))


def _figures(report: DataReport) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _rows(report):
        table.add_row(name, value)
    return table


def _rows(report: DataReport) -> Iterator[tuple[str, str]]:
    outcomes = report.outcomes
    parts = [f"{format_count(outcomes.used)} used"]
    parts += [f"{format_count(outcomes.partly)} used in part"] if outcomes.partly else []
    parts += [f"{format_count(outcomes.repeated)} duplicates"] if outcomes.repeated else []
    parts += [f"{format_count(outcomes.rejected)} not used"] if outcomes.rejected else []
    yield f"{count_noun(report.files, 'file')}", ", ".join(parts)
    works = f" in {count_noun(report.works, 'work')}" if report.works < report.stories else ""
    yield (
        "stories",
        f"{format_count(report.stories)}{works}; median length {count_noun(report.lengths.median, 'word')}",
    )
    languages = sorted(report.languages_words.items(), key=lambda item: -item[1])
    named = ", ".join(f"{language_name(code)} {format_count(words)}" for code, words in languages[:6])
    yield "words", f"{format_count(report.words)}{f' ({named})' if len(languages) > 1 else ''}"
    if not report.enough:
        return
    yield "trains", f"{report.base_model} on {report.instance}"
    yield "training", f"about {format_minutes(report.training_minutes_estimate)}"
    yield "cost", _cost(report)


def _cost(report: DataReport) -> str:
    if report.cost_estimate_usd is None:
        return "not known for this instance: see aws.amazon.com/sagemaker/pricing"
    cost = format_dollars(report.cost_estimate_usd)
    if report.spot:
        cost = f"about {format_dollars(report.cost_estimate_spot_usd)} on spot, {cost} on demand"
    else:
        cost = f"about {cost}"
    return f"{cost}; never above {format_dollars(report.cost_at_most_usd)} (prices of {report.price_date})"


def _faults(report: DataReport) -> Iterator[RenderableType]:
    found = group_rejects(report.rejected, _MOST_NAMES)
    for fault in found[:_MOST_REASONS]:
        yield Text.assemble(("✗ ", "red"), safe_text(fault.reason), " ", (safe_text(fault.cure), "dim"))
        yield Padding(Text(_names(fault), overflow="fold"), (0, 0, 0, 2))
    left = sum(fault.count for fault in found[_MOST_REASONS:])
    if left:
        yield Text(f"and {format_count(left)} more; --html or --json has all of them", style="dim")


def _names(fault: RejectGroup) -> str:
    more = fault.count - len(fault.names)
    return ", ".join(map(safe_text, fault.names)) + (f" and {format_count(more)} more" if more else "")
