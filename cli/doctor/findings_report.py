"""The findings as a table, and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.doctor.findings import Finding, Status

SCHEMA = "storyloom-doctor/1"
"""Changes when a field changes its meaning or goes; new fields may come at any time."""
_MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "fault": ("✗", "red"),
}


@dataclass(frozen=True)
class ReportEntry:
    """A finding with the check that made it."""

    group: str
    check: str
    finding: Finding


@dataclass(frozen=True)
class DoctorReport:
    """All that was found."""

    name: str
    """The app's, from its settings."""
    account: str
    """Empty if the credentials do not work."""
    region: str
    entries: tuple[ReportEntry, ...]

    @property
    def counts(self) -> Counter[Status]:
        """How many findings there are of each status."""
        return Counter(entry.finding.status for entry in self.entries)

    @property
    def may_deploy(self) -> bool:
        """Whether nothing is known to stand in the way."""
        return not self.counts["fault"]

    def to_json(self, requested: Sequence[Finding] = ()) -> dict[str, Any]:
        """Return the document that `--json` prints."""
        return {
            "schema": SCHEMA,
            "ok": self.may_deploy,
            "name": self.name,
            "account": self.account,
            "region": self.region,
            "counts": {status: self.counts[status] for status in _MARKS},
            "findings": [
                {"group": entry.group, "check": entry.check, **asdict(entry.finding)}
                for entry in self.entries
            ],
            "requested": [asdict(finding) for finding in requested],
        }


def table(report: DoctorReport, groups: Sequence[str]) -> RenderableType:
    """Show the findings under their headings, with a summary."""
    parts: list[RenderableType] = []
    for group in groups:
        entries = [entry for entry in report.entries if entry.group == group]
        if entries:
            parts += [
                Text(group, style="bold"),
                Padding(findings_table([entry.finding for entry in entries]), (0, 0, 1, 0)),
            ]
    return Group(*parts, _conclusion(report))


def findings_table(findings: Sequence[Finding]) -> Table:
    """Show each finding on a line, with the cure and the link of a fault or warning below it."""
    shown = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    shown.add_column(width=1)
    shown.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.status]
        shown.add_row(Text(mark, style=style), _line(finding))
    return shown


def _line(finding: Finding) -> Text:
    text = Text(finding.subject, style="bold") if finding.status != "ok" else Text(finding.subject)
    line = Text.assemble(text, ": ", finding.message)
    if finding.cure:
        line.append(f"\n→ {finding.cure}", style="cyan")
    if finding.link:
        # On a line of its own an address is cut in narrow terminals only.
        line.append("\n").append(finding.link, style=f"cyan link {finding.link}")
    return line


def _conclusion(report: DoctorReport) -> Text:
    counts = report.counts
    crosses, warnings = counts["fault"], counts["warning"]
    said = f"{_counted(crosses, 'cross', 'crosses')}, {_counted(warnings, 'warning', 'warnings')}, "
    said += f"{_counted(counts['ok'], 'tick', 'ticks')}. "
    if not report.account:
        said += "The account was not looked at. "
    if report.may_deploy:
        return Text(f"{said}Nothing is known to stand in the way: npx cdk deploy --all", style="green")
    return Text(f"{said}Mend the crosses first, then run this again.", style="red")


def _counted(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
