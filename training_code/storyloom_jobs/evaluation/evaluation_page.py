"""Renders an evaluation as a page for the writer: one HTML file without scripts that loads nothing."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

NAMES = {"base": "Base model", "live": "Live version", "candidate": "New model"}

_MUCH_COPIED = 0.1
_HERE = Path(__file__).parent
_STYLE_MEASURES = (
    (
        "function_words",
        "Function words",
        "How often it says and, but, so, the: nobody chooses these on purpose.",
    ),
    ("sentence_lengths", "Sentences", "How long its sentences are, the short ones and the long."),
    ("letters", "Letters", "Which letters follow each other: names, endings, dialect, punctuation."),
)


@dataclass(frozen=True)
class Dot:
    """A model's value on a scale, as a horizontal position such as `12.50%`."""

    model: str
    """Class in the style sheet, which sets the colour."""
    position: str


@dataclass(frozen=True)
class IntervalRow:
    """One row of an interval chart."""

    label: str
    figure: str
    description: str
    """The row as text, for screen readers."""
    dot: Dot
    interval: tuple[str, str] | None
    """Positions of the ends; None if there is no interval."""


@dataclass(frozen=True)
class IntervalChart:
    """Values with their intervals, on one common scale."""

    rows: list[IntervalRow]
    low: float
    high: float
    zero: str | None
    """Position of the line at zero; None if zero has no meaning."""


@dataclass(frozen=True)
class StyleRow:
    """Distances of all models from the author's style, by one measure."""

    name: str
    note: str
    description: str
    dots: list[Dot]
    is_nearer: bool
    """Whether the new model is nearer to the author than the base model."""


def render_page(evaluation: dict[str, Any]) -> str:
    """Render the content of an `evaluation.json` as one HTML document.

    It has no script and loads nothing. Its content security policy forbids both, so that a story or an answer
    of a model cannot inject any.
    """
    css = (_HERE / "evaluation.css").read_text(encoding="utf-8")
    headline, verdict = _headline(evaluation)
    return _template().render(
        evaluation=evaluation,
        css=Markup(css),  # noqa: S704 (our own file)
        css_digest=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        names=NAMES,
        scores=_present_scores(evaluation),
        headline=headline,
        verdict=verdict,
        certainty=_certainty(evaluation),
        perplexities=_perplexity_chart(evaluation),
        improvements=_improvement_chart(evaluation),
        style_rows=_style_rows(evaluation),
        copying=_copying_text(evaluation["candidate"]["writing"]),
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
    return environment.get_template("evaluation.html.jinja")


def _present_scores(evaluation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {model: evaluation[model] for model in NAMES if evaluation[model] is not None}


def _headline(evaluation: dict[str, Any]) -> tuple[str, str]:
    """Return the headline, and the verdict as a class of the style sheet."""
    over = evaluation["over_base"]
    improvement = over["improvement_percent"]
    if improvement <= 0:
        return "It did not learn your voice: perplexity on unseen stories is not lower", "worse"
    if over["low"] is not None and over["low"] > 0:
        return f"It knows your voice: perplexity on unseen stories is {improvement:.0f}% lower", "better"
    return "It may know your voice better, but that may be chance", "unsure"


def _certainty(evaluation: dict[str, Any]) -> str:
    over = evaluation["over_base"]
    if over["low"] is None:
        return (
            f"There are too few held-out stories ({evaluation['test_stories']}) to tell how much of this is "
            "chance. More stories help."
        )
    unit = "stories" if evaluation["drawn"] == "story" else "passages"
    text = (
        f"If other {unit} of yours had been kept for the test, its perplexity would have been "
        f"{over['low']:.1f}% to {over['high']:.1f}% lower than the base model's, 19 times out of 20."
    )
    live = evaluation["over_live"]
    if live is None:
        return text
    if live["low"] is not None and live["low"] > 0:
        return text + " It is better than the live version."
    if live["high"] is not None and live["high"] < 0:
        return text + " It is worse than the live version."
    return text + " Whether it is better than the live version cannot be told apart from chance."


def _perplexity_chart(evaluation: dict[str, Any]) -> IntervalChart:
    values = [
        (model, NAMES[model], score["perplexity"], score["low"], score["high"], f"{score['perplexity']:.1f}")
        for model, score in _present_scores(evaluation).items()
    ]
    return _interval_chart(values, with_zero=False)


def _improvement_chart(evaluation: dict[str, Any]) -> IntervalChart:
    values = [
        (
            model,
            f"than the {NAMES[model].lower()}",
            over["improvement_percent"],
            over["low"],
            over["high"],
            f"{over['improvement_percent']:.1f}%",
        )
        for model in ("base", "live")
        if (over := evaluation[f"over_{model}"]) is not None
    ]
    return _interval_chart(values, with_zero=True)


_Value = tuple[str, str, float, float | None, float | None, str]
"""Model, label, value, ends of the interval, and the value as text."""


def _interval_chart(values: Sequence[_Value], *, with_zero: bool) -> IntervalChart:
    numbers = [number for _, _, *ends, _ in values for number in ends if number is not None]
    low, high = min(numbers), max(numbers)
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - margin, high + margin
    rows = []
    for model, label, value, begin, end, figure in values:
        interval, description = None, f"{label}: {figure}"
        if begin is not None and end is not None:
            interval = _position(begin, low, high), _position(end, low, high)
            description += f", between {begin:.1f} and {end:.1f}"
        rows.append(
            IntervalRow(label, figure, description, Dot(model, _position(value, low, high)), interval)
        )
    return IntervalChart(rows, low, high, _position(0.0, low, high) if with_zero else None)


def _style_rows(evaluation: dict[str, Any]) -> list[StyleRow]:
    """Compare the models' styles; no rows if a model wrote too little to measure its style."""
    styles = {model: score["writing"]["style"] for model, score in _present_scores(evaluation).items()}
    if any(style is None for style in styles.values()):
        return []
    own = evaluation["held_out_style"]
    rows = []
    for measure, name, note in _STYLE_MEASURES:
        values = {model: style[measure] for model, style in styles.items()}
        if own is not None:
            values = {"author": own[measure], **values}
        labels = {"author": "You, in another story", **NAMES}
        distances = ", ".join(f"{labels[model]} {value:.2f}" for model, value in values.items())
        rows.append(
            StyleRow(
                name,
                note,
                f"Distance from your writing, {name.lower()}: {distances}",
                _dots_from_zero(values.items()),
                styles["candidate"][measure] < styles["base"][measure],
            )
        )
    return rows


def _dots_from_zero(values: Iterable[tuple[str, float]]) -> list[Dot]:
    values = list(values)
    high = max(value for _, value in values) * 1.08 or 1.0
    return [Dot(model, _position(value, 0.0, high)) for model, value in values]


def _position(value: float, low: float, high: float) -> str:
    return f"{100 * min(1.0, max(0.0, (value - low) / (high - low))):.2f}%"


def _copying_text(writing: dict[str, Any]) -> str:
    share = max(writing["copied_share"], writing["extracted_share"])
    if share == 0:
        return "The new model copied no twelve words in a row from your stories."
    if share < _MUCH_COPIED:
        return "In a few places the new model repeats twelve or more words in a row from your stories."
    return (
        "The new model memorised passages of your stories. "
        "More and different stories, or fewer epochs (passes over your stories), help."
    )
