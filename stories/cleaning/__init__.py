"""Makes text whole: what scanning, printing, wrapping and distributing added or broke is undone.

What the author wrote (typography, dialogue, verse, letters) stays exactly as it is.
"""

from dataclasses import dataclass

from stories.cleaning.characters import drop_invisible, mend_mojibake, trim, unify_line_ends
from stories.cleaning.contents import drop_contents
from stories.cleaning.heads import drop_running_heads
from stories.cleaning.hyphens import drop_soft_hyphens, mark_broken_words
from stories.cleaning.ledger import Ledger
from stories.cleaning.lines import join_flowed, tidy, unwrap
from stories.cleaning.notices import drop_notices
from stories.cleaning.pages import PAGE_END, drop_page_numbers, join_pages
from stories.models import Change

_MOST_PASSES = 10


@dataclass(frozen=True)
class Cleaned:
    """A clean text and what was done to it; the characters that all changes removed are what it has fewer."""

    text: str
    changes: tuple[Change, ...]


def clean(text: str) -> Cleaned:
    """Return the text with damage mended; cleaning what is clean changes nothing.

    Paragraphs end with one empty line; lines within a paragraph stay only where they mean something.
    A form feed in the text is where a page ends.
    """
    ledger = Ledger()
    # Most files end with a line feed; without it here, a clean one takes one pass, not two.
    text = ledger.apply("white space", trim, text)
    for _ in range(_MOST_PASSES):
        cleaned = _clean_once(text, ledger)
        if cleaned == text:
            break
        text = cleaned
    return Cleaned(text, ledger.changes())


def clean_line(text: str) -> str:
    """Return a title as one clean line; no page, list or paragraph can be in it."""
    for step in (mend_mojibake, drop_invisible, drop_soft_hyphens):
        text = step(text).text
    return " ".join(text.split())


def _clean_once(text: str, ledger: Ledger) -> str:
    text = ledger.apply("white space", unify_line_ends, text)
    text = ledger.apply("mojibake", mend_mojibake, text)
    text = ledger.apply("invisible characters", drop_invisible, text)
    text = ledger.apply("licence", drop_notices, text)
    text = ledger.apply("page numbers", drop_page_numbers, text)
    if "\n" in text or PAGE_END in text:
        text = _clean_lines(text, ledger)
    text = ledger.apply("hyphenation", drop_soft_hyphens, text)
    return ledger.apply("white space", tidy, text)


def _clean_lines(text: str, ledger: Ledger) -> str:
    """Mend what only a text of several lines or pages can have."""
    text = ledger.apply("running heads", drop_running_heads, text)
    is_paged = PAGE_END in text
    text = ledger.apply("wrapped lines", join_pages, text)
    text = ledger.apply("contents", drop_contents, text)
    # The hyphens of broken words are only marked first: the length of a line tells whether it was wrapped.
    text = mark_broken_words(text)
    if is_paged:
        text = ledger.apply("wrapped lines", join_flowed, text)
    return ledger.apply("wrapped lines", unwrap, text)
