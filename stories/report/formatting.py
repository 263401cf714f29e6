"""Format figures and names for people."""

import calendar
import json
import unicodedata
from functools import cache
from pathlib import Path

from stories.records import ChangeKind
from stories.report.data_report import Duplicate, Grade

HEADLINES: dict[Grade, str] = {
    "far too little": "Not enough stories yet",
    "too little": "You can begin, but more would help",
    "enough": "Your stories are ready",
    "plenty": "Your stories are ready, and there are plenty",
}

# "title" is missing because moving the title out of the text is not a change for a reader.
CHANGES: dict[ChangeKind, tuple[str, str]] = {
    "mojibake": (
        "Garbled letters repaired",
        "Letters that an older program had saved in the wrong encoding.",
    ),
    "invisible characters": (
        "Invisible characters taken out",
        "Characters that readers do not see and a model would learn to write.",
    ),
    "wrapped lines": ("Broken lines joined", "Lines that ended only because the page was full."),
    "hyphenation": ("Divided words joined", "Words that were cut in two at the end of a line."),
    "page numbers": ("Page numbers taken out", "They belong to the paper, not to the story."),
    "running heads": ("Running heads taken out", "The lines at the top or foot of every page."),
    "contents": ("Tables of contents taken out", "Lists of chapters with their pages."),
    "licence": ("Licence notices taken out", "What a publisher or a website added around the story."),
    "white space": ("Spaces tidied", "Spaces at the ends of lines, and more empty lines than needed."),
}


def language_name(code: str) -> str:
    """Return the English name of a language: `en` is English; `und` could not be identified."""
    return "Could not tell" if code == "und" else _language_names().get(code, code)


@cache
def _language_names() -> dict[str, str]:
    """Return the English names of the languages that py3langid identifies, by ISO 639-1 code."""
    names: dict[str, str] = json.loads(Path(__file__).with_name("languages.json").read_text("utf-8"))
    return names


def format_count(number: int) -> str:
    """Format a number: `12345` is `12,345`."""
    return f"{number:,}"


def count_noun(number: int, one: str, many: str = "") -> str:
    """Format a number with its noun: `1 story`, `2 stories`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def format_dollars(amount: float | None) -> str:
    """Format a price; None is "not known"."""
    return "not known" if amount is None else f"${amount:,.2f}"


def format_month(date: str) -> str:
    """Format a month: `2026-09` is `September 2026`."""
    year, _, number = date.partition("-")
    return f"{calendar.month_name[int(number)]} {year}"


def format_minutes(amount: float) -> str:
    """Format a duration: `95.4` is `1 h 35 min`."""
    whole = max(1, round(amount))
    hours, rest = divmod(whole, 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def describe_duplicate(pair: Duplicate) -> str:
    """Return how a dropped story relates to the one that is kept."""
    if pair.kind == "exact":
        return "is word for word the same as"
    if pair.kind == "part":
        return "is a part of"
    if pair.kind == "draft":
        return "is another draft of"
    return f"is {pair.similarity:.0%} the same as"


def safe_text(name: str) -> str:
    """Replace characters of a name that could control the screen."""
    return _replaced(name, but="")


def safe_sample(text: str) -> str:
    """Replace characters of a passage that could control the screen, except line breaks."""
    return _replaced(text.replace("\f", "\n").strip("\n"), but="\n\t")


def _replaced(text: str, but: str) -> str:
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if _unseen(character) and character not in but else character
        for character in text
    )


def _unseen(character: str) -> bool:
    """Return whether a character is a control, a surrogate or a mark that changes the text direction."""
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
