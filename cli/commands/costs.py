"""The command `storyloom costs`: what a month costs, by kind and by day, and what is left of its limit."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import plotext
import typer
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from cli.api.client import StoryloomApi
from cli.api.connection import connect
from cli.console import AsJson, CommandError, out, print_json

Month = Annotated[str, typer.Option(help="Another month, such as 2026-10; without it, this one.")]

KIND_LABELS = {
    "training": "training",
    "evaluation": "evaluation",
    "search": "hyperparameter search",
    "endpoint": "hosting",
    "batch": "batches",
    "notebook": "notebooks",
}
"""The words for each kind of cost."""
_RAISE = "To raise the limit, set monthly_limit_usd in cdk.json and deploy again."
_HEIGHT = 12
_NARROWEST = 40
_WIDEST = 100


def costs(month: Month = "", as_json: AsJson = False) -> None:
    """Show what the month costs by kind and by day: spent, reserved for running work, left of the limit."""
    if month and not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", month):
        raise CommandError(f"{month} is not a month.", "Give it as YEAR-MONTH, such as 2026-10.")
    month_costs = StoryloomApi(connect()).costs(month)
    if as_json:
        print_json(month_costs)
    else:
        out.print(costs_panel(month_costs))


def costs_panel(month_costs: dict[str, Any]) -> RenderableType:
    """Return the view of a month's costs, from the response of `GET /api/costs`."""
    parts: list[RenderableType] = [Text(line) for line in _sums(month_costs)]
    if month_costs["by_kind"]:
        parts += [Text(), _kinds_table(month_costs), DayBars(month_costs["month"], month_costs["by_day"])]
    parts += [Text(), *(Text(line) for line in _prices(month_costs))]
    return Group(*parts)


def _sums(month_costs: dict[str, Any]) -> list[str]:
    spent, reserved, limit = month_costs["spent_usd"], month_costs["reserved_usd"], month_costs["limit_usd"]
    if not spent and not reserved:
        said = [f"Nothing was spent in {month_costs['month']}, and nothing is reserved."]
    else:
        kept = f", and {_dollars(reserved)} reserved for what is running" if reserved else ""
        said = [f"{_dollars(spent)} spent in {month_costs['month']}{kept}."]
    if limit is None:
        return [*said, "There is no limit. To set one, set monthly_limit_usd in cdk.json and deploy again."]
    return [*said, f"{_dollars(month_costs['left_usd'])} of the limit of {_dollars(limit)} is left. {_RAISE}"]


def _kinds_table(month_costs: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("for")
    for column in ("spent", "reserved"):
        table.add_column(column, justify="right")
    for one in month_costs["by_kind"]:
        table.add_row(KIND_LABELS[one["kind"]], _dollars(one["spent_usd"]), _dollars(one["reserved_usd"]))
    table.add_row(
        "total", _dollars(month_costs["spent_usd"]), _dollars(month_costs["reserved_usd"]), style="bold"
    )
    return table


def _prices(month_costs: dict[str, Any]) -> list[str]:
    """List the prices, one line for equal ones, and the instances without a price."""
    alike: dict[tuple[str, float, str, str], list[str]] = {}
    for one in month_costs["prices"]:
        key = (one["instance"], one["usd_per_hour"], one["source"], one["date"])
        alike.setdefault(key, []).append(one["kind"])
    lines = [
        f"{instance} ${usd:g} an hour for {', '.join(kinds)} ({source}, {date})"
        for (instance, usd, source, date), kinds in alike.items()
    ]
    lines += [
        f"{one['instance']} for {one['kind']}: no price is known. Give one with the setting "
        "instance_prices_usd; storyloom doctor asks AWS for it"
        for one in month_costs["unpriced"]
    ]
    if month_costs["prices_failure"]:
        lines.append(f"AWS's price list could not be read completely: {month_costs['prices_failure']}")
    return lines


def _dollars(usd: float) -> str:
    return "less than $0.01" if 0 < usd < 0.01 else f"${usd:,.2f}"


@dataclass(frozen=True)
class DayBars:
    """A bar chart of what was spent on each day; empty if the terminal is too narrow."""

    month: str
    by_day: Sequence[dict[str, Any]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the chart in the available width."""
        if options.max_width < _NARROWEST or not self.by_day:
            return
        year, month = (int(part) for part in self.month.split("-"))
        spent = {int(day["day"][8:10]): sum(day["spent_usd"].values()) for day in self.by_day}
        days = range(1, calendar.monthrange(year, month)[1] + 1)
        plotext.clear_figure()
        plotext.theme("pro" if console.color_system else "clear")
        plotext.plot_size(min(_WIDEST, options.max_width), _HEIGHT)
        plotext.title("dollars spent by day")
        plotext.bar(
            list(days),
            [spent.get(day, 0.0) for day in days],
            marker="#" if options.ascii_only else "sd",
            width=0.6,
        )
        ticks = [1, *range(5, len(days) + 1, 5)]
        plotext.xticks(ticks, [str(day) for day in ticks])
        plotext.ylim(0, max(spent.values()))
        yield Text.from_ansi(plotext.build())
