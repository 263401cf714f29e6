"""The result of each line of `storyloom verify`, as a table and as a file that can be shared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from rich.table import Table
from rich.text import Text

SCHEMA_VERSION = 1
_ACCOUNT_NUMBER = re.compile(r"\b\d{12}\b")
_ARN = re.compile(r"\barn:[\w-]+:[^\s,;)]+")
_ADDRESS = re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b")


class LineStatus(StrEnum):
    """The result of a line."""

    PROVEN = "proven"
    FAILED = "failed"
    SKIPPED = "skipped"


_MARKS = {
    LineStatus.PROVEN: "[green]✓[/]",
    LineStatus.FAILED: "[red]✗[/]",
    LineStatus.SKIPPED: "[yellow]-[/]",
}


class NotProvenError(Exception):
    """A line does not hold; the message is what was seen instead."""

    status = LineStatus.FAILED

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure


class SkippedError(NotProvenError):
    """A line was skipped; the message is the reason."""

    status = LineStatus.SKIPPED


class LimitReachedError(NotProvenError):
    """The verification has reached its limit of dollars."""


@dataclass(frozen=True)
class Proof:
    """What was seen when a line held."""

    detail: str
    """Without text of a story."""


@dataclass(frozen=True)
class LineResult:
    """One line of the table."""

    id: str
    title: str
    status: LineStatus
    seconds: float
    cost_usd: float
    """What was spent meanwhile, at prices on demand."""
    detail: str
    cure: str = ""


@dataclass
class VerifyReport:
    """The results of one verification."""

    storyloom: str
    """Version of Storyloom."""
    region: str
    local_cloud: bool
    started_at: str
    settings: dict[str, Any]
    """The settings that matter to a reader: base model, instances, spot."""
    lines: list[LineResult] = field(default_factory=list)

    @property
    def is_proven(self) -> bool:
        """Tell whether every line holds."""
        return all(line.status is LineStatus.PROVEN for line in self.lines)

    @property
    def cost_usd(self) -> float:
        """Return what all lines have cost together, at prices on demand."""
        return round(sum(line.cost_usd for line in self.lines), 4)

    def as_document(self) -> dict[str, Any]:
        """Return the report for a JSON file, without account number, ARN, e-mail address or story text."""
        lines = [asdict(line) | {"status": line.status.value} for line in self.lines]
        for line in lines:
            line |= {name: without_identities(line[name]) for name in ("detail", "cure")}
        return {
            "schema_version": SCHEMA_VERSION,
            "storyloom": self.storyloom,
            "region": self.region,
            "local_cloud": self.local_cloud,
            "started_at": self.started_at,
            "settings": self.settings,
            "proven": self.is_proven,
            "seconds": round(sum(line.seconds for line in self.lines), 1),
            "cost_usd": self.cost_usd,
            "lines": lines,
        }


def without_identities(text: str) -> str:
    """Replace account numbers, ARNs and e-mail addresses in a text."""
    text = _ARN.sub("<arn>", text)
    return _ADDRESS.sub("<address>", _ACCOUNT_NUMBER.sub("<account>", text))


def results_table(lines: Sequence[LineResult]) -> Table:
    """Draw one row for each line."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column("")
    table.add_column("line", overflow="fold")
    table.add_column("seconds", justify="right")
    table.add_column("cost", justify="right")
    for line in lines:
        cell = Text.assemble(line.title, (f"\n{line.detail}", "dim"))
        if line.cure:
            cell.append(f"\n{line.cure}", style="bold")
        cost = f"${line.cost_usd:.2f}" if line.cost_usd else ""
        table.add_row(_MARKS[line.status], cell, f"{line.seconds:,.1f}", cost)
    return table
