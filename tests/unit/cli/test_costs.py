"""`storyloom costs`: a month's costs as words, table and bars."""

import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.app import app
from cli.commands import costs
from cli.console import CommandError, out

MONTH: dict[str, Any] = {
    "month": "2026-11",
    "spent_usd": 6.25,
    "reserved_usd": 1.5,
    "limit_usd": 20.0,
    "left_usd": 12.25,
    "by_kind": [
        {"kind": "training", "spent_usd": 4.0, "reserved_usd": 0.0},
        {"kind": "endpoint", "spent_usd": 2.25, "reserved_usd": 1.5},
    ],
    "by_day": [
        {"day": "2026-11-03", "spent_usd": {"training": 4.0, "endpoint": 0.25}},
        {"day": "2026-11-29", "spent_usd": {"endpoint": 2.0}},
    ],
    "prices": [
        {
            "kind": kind,
            "instance": "ml.g6.xlarge",
            "usd_per_hour": 1.127,
            "date": "2026-11-28",
            "source": "AWS",
        }
        for kind in ("training", "hosting")
    ],
    "unpriced": [{"kind": "hosting", "instance": "ml.p5.48xlarge"}],
    "prices_read_at": "2026-11-28T01:02:03.000Z",
    "prices_failure": None,
}
EMPTY = {**MONTH, "spent_usd": 0.0, "reserved_usd": 0.0, "by_kind": [], "by_day": [], "limit_usd": None}


class _Api:
    def __init__(self) -> None:
        self.told, self.asked = MONTH, ""

    def costs(self, month: str) -> dict[str, Any]:
        self.asked = month
        return self.told


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> _Api:
    known = _Api()
    monkeypatch.setattr(costs, "connect", lambda: None)
    monkeypatch.setattr(costs, "StoryloomApi", lambda connection: known)
    monkeypatch.setattr(out, "_width", 110)
    return known


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["costs", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_costs_show_spent_reserved_left_and_how_to_raise_the_limit(api: _Api) -> None:
    said = run()
    assert "$6.25 spent in 2026-11, and $1.50 reserved for what is running." in said
    assert "$12.25 of the limit of $20.00 is left." in said
    assert "set monthly_limit_usd in cdk.json and deploy again" in said
    assert [line.split()[-2:] for line in said.splitlines() if "total" in line] == [["$6.25", "$1.50"]]
    assert "hosting" in said
    assert "ml.g6.xlarge $1.127 an hour for training, hosting (AWS, 2026-11-28)" in said
    assert "ml.p5.48xlarge for hosting: no price is known" in said
    assert "could not be read" not in said


def test_an_empty_month_is_described(api: _Api) -> None:
    api.told = EMPTY
    said = run()
    assert "Nothing was spent in 2026-11, and nothing is reserved." in said
    assert "There is no limit." in said
    assert "by day" not in said


def test_a_price_list_that_could_not_be_read_is_reported(api: _Api) -> None:
    api.told = {**MONTH, "prices_failure": "ml.g6.xlarge: AccessDenied"}
    assert "could not be read completely: ml.g6.xlarge: AccessDenied" in run()


def test_json_output_is_the_apis_response(api: _Api) -> None:
    assert json.loads(run("--json")) == MONTH


def test_another_month_is_asked_for_by_name(api: _Api) -> None:
    run("--month", "2026-10")
    assert api.asked == "2026-10"
    with pytest.raises(CommandError, match="2026-13 is not a month"):
        run("--month", "2026-13")


def _drawn(width: int, encoding: str = "utf-8") -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False)
    options = console.options.update(width=width)
    options.encoding = encoding
    return [segment.text for segment in console.render(costs.DayBars("2026-11", MONTH["by_day"]), options)]


def test_the_bars_have_a_column_for_every_day_of_the_month() -> None:
    drawn = "".join(_drawn(80))
    assert "dollars spent by day" in drawn
    assert "30" in drawn.splitlines()[-1]
    heights = [sum("█" in line[column : column + 1] for line in drawn.splitlines()) for column in range(80)]
    tall = [column for column, height in enumerate(heights) if height]
    assert tall, drawn
    assert max(tall) - min(tall) > 40, "the 3rd stands far left of the 29th"


def test_a_narrow_terminal_has_no_bars_and_a_plain_one_no_blocks() -> None:
    assert not _drawn(30)
    plain = "".join(_drawn(80, "ascii"))
    assert "#" in plain and "█" not in plain
