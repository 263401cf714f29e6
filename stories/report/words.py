"""Figures and names as people say them."""

import calendar
import json
import unicodedata
from functools import cache
from pathlib import Path

from stories.models import ChangeKind, Duplicate, Grade

HEADLINES: dict[Grade, str] = {
    "far too little": "Not enough stories yet",
    "too little": "You can begin, but more would help",
    "enough": "Your stories are ready",
    "plenty": "Your stories are ready, and there are plenty",
}

# What a reader would call a change: that a title stands beside its text and no longer in it is none.
CHANGES: dict[ChangeKind, tuple[str, str]] = {
    "mojibake": ("Garbled letters mended", "Letters that an older program had saved in the wrong alphabet."),
    "invisible characters": (
        "Invisible characters taken out",
        "Signs that nobody sees and a model would learn to write.",
    ),
    "wrapped lines": ("Broken lines joined", "Lines that ended only because the page was full."),
    "hyphenation": ("Divided words joined", "Words that were cut in two at the end of a line."),
    "page numbers": ("Page numbers taken out", "They belong to the paper, not to the story."),
    "running heads": ("Running heads taken out", "The lines at the top or foot of every page."),
    "contents": ("Tables of contents taken out", "Lists of chapters with their pages."),
    "licence": ("Licence notices taken out", "What a publisher or a website added around the story."),
    "white space": ("Spaces tidied", "Spaces at the ends of lines, and more empty lines than needed."),
}


def language(code: str) -> str:
    """Name a language: `en` is English; `und` was too short to tell."""
    return "Could not tell" if code == "und" else _language_names().get(code, code)


@cache
def _language_names() -> dict[str, str]:
    """English names of the languages that py3langid can tell apart, by ISO 639-1 code."""
    names: dict[str, str] = json.loads(Path(__file__).with_name("languages.json").read_text("utf-8"))
    return names


def count(number: int) -> str:
    """Write a number: `12345` is `12,345`."""
    return f"{number:,}"


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number with its noun: `1 story`, `2 stories`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def dollars(amount: float | None) -> str:
    """Write a price; None is not known."""
    return "not known" if amount is None else f"${amount:,.2f}"


def month(date: str) -> str:
    """Write a month: `2026-09` is `September 2026`."""
    year, _, number = date.partition("-")
    return f"{calendar.month_name[int(number)]} {year}"


def minutes(amount: float) -> str:
    """Write a duration: `95.4` is `1 h 35 min`."""
    whole = max(1, round(amount))
    hours, rest = divmod(whole, 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def likeness(pair: Duplicate) -> str:
    """Say how a story that is left out relates to the one that stays."""
    if pair.kind == "exact":
        return "is word for word the same as"
    if pair.kind == "part":
        return "is a part of"
    if pair.kind == "draft":
        return "is another draft of"
    return f"is {pair.similarity:.0%} the same as"


def shown(name: str) -> str:
    """Make a name safe to look at: what a file may be called, but no screen should obey, is replaced."""
    return _replaced(name, but="")


def sample(text: str) -> str:
    """Make a passage safe to look at; its lines stay lines, and the end of a page is one too."""
    return _replaced(text.replace("\f", "\n").strip("\n"), but="\n\t")


def _replaced(text: str, but: str) -> str:
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if _unseen(character) and character not in but else character
        for character in text
    )


def _unseen(character: str) -> bool:
    """Tell control characters, halves of surrogate pairs, and marks that turn the direction of a line."""
    kind = unicodedata.category(character)
    return kind in {"Cc", "Cs"} or unicodedata.bidirectional(character) in {
        "LRE",
        "RLE",
        "LRO",
        "RLO",
        "PDF",
        "LRI",
        "RLI",
        "FSI",
        "PDI",
    }
