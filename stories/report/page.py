"""Render a data report as an HTML page."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from stories.models import DataReport
from stories.report import figures, words
from stories.report.faults import group_rejects

_HERE = Path(__file__).parent
_MAX_REASONS = 200
_MAX_NAMES = 100
_MAX_PAIRS = 500


def report_to_html(report: DataReport) -> str:
    """Return the report as one HTML document.

    It has no script and loads nothing. Its content security policy forbids both, so that a file's name cannot
    inject any.
    """
    css = (_HERE / "report.css").read_text(encoding="utf-8")
    found = group_rejects(report.rejected, _MAX_NAMES)
    return _template().render(
        report=report,
        css=Markup(css),  # noqa: S704 - our own file
        css_digest=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        headline=words.HEADLINES[report.grade],
        scale=figures.grade_scale(report),
        outcomes=figures.outcome_shares(report.outcomes),
        split=figures.split_shares(report),
        lengths=figures.length_bars(report.lengths.ranges),
        languages=figures.language_bars(report.languages_words, report.languages),
        faults=found[:_MAX_REASONS],
        faults_not_shown=sum(fault.count for fault in found[_MAX_REASONS:]),
        pairs=report.duplicates[:_MAX_PAIRS],
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
        "count": words.format_count,
        "counted": words.count_noun,
        "dollars": words.format_dollars,
        "minutes": words.format_minutes,
        "month": words.format_month,
        "likeness": words.describe_duplicate,
        "shown": words.safe_text,
        "sample": words.safe_sample,
    }
    return environment.get_template("report.html.jinja")
