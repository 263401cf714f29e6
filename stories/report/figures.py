"""What the page's drawings are made of: places and widths in percent, and the words beside them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stories.models import DataReport, Grade, LengthRange, Outcomes
from stories.report.words import language
from stories.verdict import CLEAR_CHANGE_WORDS, PLENTY_WORDS

# Narrower than this nobody would see it, and what is there must be seen.
_NARROWEST = 0.8


@dataclass(frozen=True)
class Share:
    """One stretch of a bar that stands for a whole."""

    name: str
    value: int
    style: str
    """Its class in the style sheet."""
    begin: float = 0.0
    """Percent of the bar's length."""
    width: float = 0.0


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart."""

    name: str
    value: int
    width: float
    """Percent of the longest bar's."""
    detail: str = ""


@dataclass(frozen=True)
class Zone:
    """One grade on the scale of words."""

    grade: Grade
    begin: int
    """Words it begins with."""
    end: int | None
    """Words the next one begins with; None for the last."""


@dataclass(frozen=True)
class Scale:
    """Where an amount of words stands among the grades. All zones are drawn equally wide."""

    zones: tuple[Zone, ...]
    place: float
    """Percent of the scale's length."""


def scale(report: DataReport) -> Scale:
    """Place the words on the scale of grades."""
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
    # The last zone has no end: its middle stands for ten times its beginning.
    end = zone.end or zone.begin * 19
    within = min(0.97, max(0.03, (report.words - zone.begin) / (end - zone.begin)))
    return Scale(zones, round((here + within) * 100 / len(zones), 2))


def outcome_shares(outcomes: Outcomes) -> tuple[Share, ...]:
    """What became of the files, as stretches of one bar."""
    return _shares(
        [
            Share("used", outcomes.used, "used"),
            Share("used in part", outcomes.partly, "partly"),
            Share("say what another file says", outcomes.repeated, "repeated"),
            Share("could not be used", outcomes.rejected, "rejected"),
        ]
    )


def split_shares(report: DataReport) -> tuple[Share, ...]:
    """How the words are divided, as stretches of one bar."""
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
    """How many stories are how long."""
    found = tuple(ranges)
    most = max((each.stories for each in found), default=0)
    return tuple(Bar(_range_in_words(each), each.stories, _percent(each.stories, most)) for each in found)


def language_bars(words: Mapping[str, int], stories: Mapping[str, int]) -> tuple[Bar, ...]:
    """How many words are in which language, the most first."""
    most = max(words.values(), default=0)
    in_order = sorted(words, key=lambda code: (-words[code], code))
    return tuple(
        Bar(
            language(code),
            words[code],
            _percent(words[code], most),
            f"{stories.get(code, 0):,}",
        )
        for code in in_order
    )


def _shares(shares: Iterable[Share]) -> tuple[Share, ...]:
    """Give each stretch that is there its place; a sliver stays wide enough to be seen."""
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
