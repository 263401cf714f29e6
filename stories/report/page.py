"""Puts a data report into its page."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from stories.models import DataReport, Reject
from stories.report import figures, words

_HERE = Path(__file__).parent
_MOST_REASONS = 200
_MOST_NAMES = 100
_MOST_PAIRS = 500


@dataclass
class Fault:
    """What some files have in common: a reason and its cure."""

    reason: str
    cure: str
    names: list[str] = field(default_factory=list)
    count: int = 0
    """Names in all, of which `names` has the first hundred."""


def to_html(report: DataReport) -> str:
    """Return the report as one HTML document.

    It holds no script and loads nothing, and its content security policy forbids both, so that no name of a
    file can make it do so.
    """
    css = (_HERE / "report.css").read_text(encoding="utf-8")
    faults = _faults(report.rejected)
    return _template().render(
        report=report,
        css=Markup(css),  # noqa: S704 - our own file
        css_digest=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        headline=words.HEADLINES[report.grade],
        scale=figures.scale(report),
        outcomes=figures.outcome_shares(report.outcomes),
        split=figures.split_shares(report),
        lengths=figures.length_bars(report.lengths.ranges),
        languages=figures.language_bars(report.languages_words, report.languages),
        faults=faults[:_MOST_REASONS],
        faults_not_shown=sum(fault.count for fault in faults[_MOST_REASONS:]),
        pairs=report.duplicates[:_MOST_PAIRS],
        changes=words.CHANGES,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": words.count,
        "counted": words.counted,
        "dollars": words.dollars,
        "minutes": words.minutes,
        "likeness": words.likeness,
        "shown": words.shown,
        "sample": words.sample,
    }
    return environment.get_template("report.html.jinja")


def _faults(rejects: Iterable[Reject]) -> Sequence[Fault]:
    """Put files with the same fault together, the most frequent fault first."""
    faults: dict[tuple[str, str], Fault] = {}
    for reject in rejects:
        fault = faults.setdefault((reject.reason, reject.cure), Fault(reject.reason, reject.cure))
        fault.count += 1
        if len(fault.names) < _MOST_NAMES:
            entry = f": {reject.entry}" if reject.entry else ""
            fault.names.append(f"{reject.source_key}{entry}")
    return sorted(faults.values(), key=lambda fault: -fault.count)
