"""Render a data report as an HTML page, with its charts."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from stories.report import formatting
from stories.report.data_report import DataReport, Grade, LengthRange, Outcomes, group_rejects
from stories.report.formatting import language_name
from stories.report.verdict import CLEAR_CHANGE_WORDS, PLENTY_WORDS

_HERE = Path(__file__).parent
_MAX_REASONS = 200
_MAX_NAMES = 100
_MAX_PAIRS = 500

# Minimum width, so that every value that is not zero can be seen.
_NARROWEST = 0.8


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
        headline=formatting.HEADLINES[report.grade],
        scale=grade_scale(report),
        outcomes=outcome_shares(report.outcomes),
        split=split_shares(report),
        lengths=length_bars(report.lengths.ranges),
        languages=language_bars(report.languages_words, report.languages),
        faults=found[:_MAX_REASONS],
        faults_not_shown=sum(fault.count for fault in found[_MAX_REASONS:]),
        pairs=report.duplicates[:_MAX_PAIRS],
        changes=formatting.CHANGES,
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
        function.__name__: function
        for function in (
            formatting.count_noun,
            formatting.describe_duplicate,
            formatting.format_count,
            formatting.format_dollars,
            formatting.format_minutes,
            formatting.format_month,
            formatting.safe_sample,
            formatting.safe_text,
        )
    }
    return environment.get_template("report.html.jinja")


@dataclass(frozen=True)
class Share:
    """One segment of a stacked bar."""

    name: str
    value: int
    style: str
    """CSS class."""
    begin: float = 0.0
    """Position in percent of the bar's length."""
    width: float = 0.0


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart."""

    name: str
    value: int
    width: float
    """Percent of the longest bar."""
    detail: str = ""


@dataclass(frozen=True)
class Zone:
    """One grade on the scale of words."""

    grade: Grade
    begin: int
    """First number of words in the zone."""
    end: int | None
    """First number of words in the next zone; None for the last."""


@dataclass(frozen=True)
class Scale:
    """The grades as zones, and the position of the stories among them. All zones are drawn equally wide."""

    zones: tuple[Zone, ...]
    place: float
    """Position in percent of the scale's length."""


def grade_scale(report: DataReport) -> Scale:
    """Return the scale of grades with the position of a report's words."""
    edges: list[tuple[Grade, int]] = [
        ("far too little", 0),
        ("too little", report.minimum_words),
        ("enough", max(CLEAR_CHANGE_WORDS, report.minimum_words)),
        ("plenty", max(PLENTY_WORDS, report.minimum_words)),
    ]
    ends: list[int | None] = [begin for _, begin in edges[1:]]
    zones = tuple(
        Zone(grade, begin, end)
        for (grade, begin), end in zip(edges, [*ends, None], strict=True)
        if end is None or begin < end
    )
    here = max(number for number, zone in enumerate(zones) if zone.begin <= report.words)
    zone = zones[here]
    # The last zone has no end: its middle represents ten times its begin.
    end = zone.end or zone.begin * 19
    within = min(0.97, max(0.03, (report.words - zone.begin) / (end - zone.begin)))
    return Scale(zones, round((here + within) * 100 / len(zones), 2))


def outcome_shares(outcomes: Outcomes) -> tuple[Share, ...]:
    """Return how the files were used, as segments of one bar."""
    return _shares(
        [
            Share("used", outcomes.used, "used"),
            Share("used in part", outcomes.partly, "partly"),
            Share("repeat another file", outcomes.repeated, "repeated"),
            Share("could not be used", outcomes.rejected, "rejected"),
        ]
    )


def split_shares(report: DataReport) -> tuple[Share, ...]:
    """Return how the words are split, as segments of one bar."""
    split = report.split
    unused = report.words - sum(size.words for size in split.values())
    return _shares(
        [
            Share("to learn from", split["train"].words, "used"),
            Share("to check on while learning", split["validation"].words, "partly"),
            Share("unseen, for the test at the end", split["test"].words, "repeated"),
            Share("left out between them", max(0, unused), "gap"),
        ]
    )


def length_bars(ranges: Iterable[LengthRange]) -> tuple[Bar, ...]:
    """Return the number of stories in each range of lengths, as bars."""
    found = tuple(ranges)
    most = max((each.stories for each in found), default=0)
    return tuple(Bar(_range_in_words(each), each.stories, _percent(each.stories, most)) for each in found)


def language_bars(words: Mapping[str, int], stories: Mapping[str, int]) -> tuple[Bar, ...]:
    """Return the number of words in each language as bars, the largest first."""
    most = max(words.values(), default=0)
    in_order = sorted(words, key=lambda code: (-words[code], code))
    return tuple(
        Bar(
            language_name(code),
            words[code],
            _percent(words[code], most),
            f"{stories.get(code, 0):,}",
        )
        for code in in_order
    )


def _shares(shares: Iterable[Share]) -> tuple[Share, ...]:
    """Compute the position and width of each segment that is not empty; all are wide enough to be seen."""
    there = [share for share in shares if share.value]
    whole = sum(share.value for share in there)
    widths = [max(_NARROWEST, share.value * 100 / whole) for share in there]
    total = sum(widths)
    placed, begin = [], 0.0
    for share, width in zip(there, widths, strict=True):
        percent = width * 100 / total
        placed.append(Share(share.name, share.value, share.style, round(begin, 3), round(percent, 3)))
        begin += percent
    return tuple(placed)


def _range_in_words(each: LengthRange) -> str:
    if each.to_words is None:
        return f"{each.from_words:,} words or more"
    if not each.from_words:
        return f"under {each.to_words:,} words"
    return f"{each.from_words:,} to {each.to_words:,}"


def _percent(value: int, most: int) -> float:
    return round(max(_NARROWEST, value * 100 / most), 2) if value else 0.0
