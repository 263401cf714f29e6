"""What the doctor finds: findings with their cure, the report of all of them as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

FindingStatus = Literal["ok", "warning", "fault"]

SCHEMA = "storyloom-doctor/1"
"""Changes when a field changes its meaning or is removed; fields may be added at any time."""
_MARKS: dict[FindingStatus, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "fault": ("✗", "red"),
}


@dataclass(frozen=True)
class Finding:
    """The result of one check, or of a part of it."""

    status: FindingStatus
    """`fault`: the deployment or the first use fails. `warning`: it may fail, or it could not be checked."""
    subject: str
    message: str
    cure: str = ""
    """What to do, often as a command; every fault and warning has one."""
    link: str = ""
    """The web page on which to do it."""

    def __post_init__(self) -> None:
        if self.status != "ok" and not (self.cure or self.link):
            raise ValueError(f"The {self.status} {self.subject!r} needs a cure.")


def ok(subject: str, message: str) -> Finding:
    """Make a finding that needs nothing."""
    return Finding("ok", subject, message)


def warning(subject: str, message: str, cure: str, link: str = "") -> Finding:
    """Make a warning."""
    return Finding("warning", subject, message, cure, link)


def fault(subject: str, message: str, cure: str, link: str = "") -> Finding:
    """Make a fault."""
    return Finding("fault", subject, message, cure, link)


@dataclass(frozen=True)
class ReportEntry:
    """A finding with the check that made it."""

    group: str
    check: str
    finding: Finding


@dataclass(frozen=True)
class DoctorReport:
    """All findings."""

    name: str
    """The app's name, from its settings."""
    account: str
    """The account's number; empty if the credentials do not work."""
    region: str
    entries: tuple[ReportEntry, ...]

    @property
    def counts(self) -> Counter[FindingStatus]:
        """Return the number of findings of each status."""
        return Counter(entry.finding.status for entry in self.entries)

    @property
    def may_deploy(self) -> bool:
        """Tell whether there is no fault."""
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


def report_table(report: DoctorReport, groups: Sequence[str]) -> RenderableType:
    """Draw the findings under their headings, with a summary."""
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
    """Draw each finding on a line, with the cure and the link of a fault or warning below it."""
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
        # On a line of its own an address is wrapped only in narrow terminals.
        line.append("\n").append(finding.link, style=f"cyan link {finding.link}")
    return line


def _conclusion(report: DoctorReport) -> Text:
    counts = report.counts
    crosses, warnings = counts["fault"], counts["warning"]
    summary = f"{_counted(crosses, 'cross', 'crosses')}, {_counted(warnings, 'warning', 'warnings')}, "
    summary += f"{_counted(counts['ok'], 'tick', 'ticks')}. "
    if not report.account:
        summary += "The account was not checked. "
    if report.may_deploy:
        return Text(f"{summary}You can deploy: npx --no-install cdk deploy --all", style="green")
    return Text(f"{summary}Fix the crosses first, then run the doctor again.", style="red")


def _counted(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
