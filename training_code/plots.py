"""Small drawings for the report, as SVG inside the page: places in percent, so that they fit any screen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Mark:
    """A value, and the interval it lies in."""

    style: str
    """Its class in the style sheet."""
    label: str
    value: float
    low: float | None = None
    high: float | None = None
    figure: str = ""
    """The value in words, at the end of its row."""


def intervals(marks: Sequence[Mark], about: str, zero: str = "") -> str:
    """A row for each mark on one common scale.

    Args:
        marks: in the order of the rows.
        about: what is drawn, for who cannot see it.
        zero: what to write at zero, which is then drawn; empty where zero means nothing.
    """
    low, high = _reach(marks, with_zero=bool(zero))
    rows = "".join(_row(mark, low, high, zero=bool(zero)) for mark in marks)
    ends = f"<span>{low:.3g}</span><span>{high:.3g}</span>"
    drawn = f'{rows}<div class="ends">{ends}</div>'
    return f'<div class="plot" role="group" aria-label="{escape(about)}">{drawn}</div>'


def scale(marks: Sequence[Mark], about: str) -> str:
    """All marks on one line that begins at zero."""
    high = max([mark.value for mark in marks], default=1.0) * 1.08 or 1.0
    described = ", ".join(f"{mark.label} {mark.value:.2f}" for mark in marks)
    drawn = "".join(_dot(mark, 0.0, high) for mark in marks)
    line = '<line class="axis" x1="0" x2="100%" y1="50%" y2="50%"/>'
    return f'<svg role="img" aria-label="{escape(f"{about}: {described}")}">{line}{drawn}</svg>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """The colours' meanings: (class, words)."""
    dot = '<svg aria-hidden="true"><circle class="{}" cx="50%" cy="50%" r="5"/></svg>'
    items = "".join(f"<li>{dot.format(style)}{escape(words)}</li>" for style, words in entries)
    return f'<ul class="legend">{items}</ul>'


def _row(mark: Mark, low: float, high: float, *, zero: bool) -> str:
    at_zero = _at(0.0, low, high)
    line = f'<line class="zero" x1="{at_zero}" x2="{at_zero}" y1="0" y2="100%"/>' if zero else ""
    span = ""
    described = f"{mark.label}: {mark.figure}"
    if mark.low is not None and mark.high is not None:
        ends = f'x1="{_at(mark.low, low, high)}" x2="{_at(mark.high, low, high)}"'
        span = f'<line class="span {mark.style}" {ends} y1="50%" y2="50%"/>'
        described += f", between {mark.low:.1f} and {mark.high:.1f}"
    axis = '<line class="axis" x1="0" x2="100%" y1="50%" y2="50%"/>'
    drawn = f"{axis}{line}{span}{_dot(mark, low, high)}"
    return (
        f"<span>{escape(mark.label)}</span>"
        f'<svg role="img" aria-label="{escape(described)}">{drawn}</svg>'
        f'<span class="figure">{escape(mark.figure)}</span>'
    )


def _dot(mark: Mark, low: float, high: float) -> str:
    return f'<circle class="{mark.style}" cx="{_at(mark.value, low, high)}" cy="50%" r="6"/>'


def _at(value: float, low: float, high: float) -> str:
    return f"{100 * min(1.0, max(0.0, (value - low) / (high - low))):.2f}%"


def _reach(marks: Sequence[Mark], *, with_zero: bool) -> tuple[float, float]:
    """The ends of the scale: all values and intervals, and a little air."""
    values = [value for mark in marks for value in (mark.value, mark.low, mark.high) if value is not None]
    low, high = min(values), max(values)
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    air = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - air, high + air
