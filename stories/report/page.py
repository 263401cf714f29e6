"""Puts a data report into its page."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from stories.models import DataReport
from stories.report import figures, words
from stories.report.faults import faults

_HERE = Path(__file__).parent
_MOST_REASONS = 200
_MOST_NAMES = 100
_MOST_PAIRS = 500


def to_html(report: DataReport) -> str:
    """Return the report as one HTML document.

    It holds no script and loads nothing, and its content security policy forbids both, so that no name of a
    file can make it do so.
    """
    css = (_HERE / "report.css").read_text(encoding="utf-8")
    found = faults(report.rejected, _MOST_NAMES)
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
        faults=found[:_MOST_REASONS],
        faults_not_shown=sum(fault.count for fault in found[_MOST_REASONS:]),
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
        "month": words.month,
        "likeness": words.likeness,
        "shown": words.shown,
        "sample": words.sample,
    }
    return environment.get_template("report.html.jinja")
