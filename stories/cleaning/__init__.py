"""Clean text: undo what scanning, printing, line wrapping and distributors added or broke.

What the author wrote (typography, dialogue, verse, letters) stays exactly as it is.
"""

from dataclasses import dataclass

from stories.cleaning.change_log import ChangeLog
from stories.cleaning.characters import drop_invisible, repair_mojibake, trim, unify_line_ends
from stories.cleaning.contents import drop_contents
from stories.cleaning.notices import drop_notices
from stories.cleaning.pages import PAGE_END, drop_page_numbers, drop_running_heads, join_pages
from stories.cleaning.wrapping import drop_soft_hyphens, join_flowed, mark_broken_words, tidy, unwrap
from stories.records import Change

_MAX_PASSES = 10


@dataclass(frozen=True)
class CleanedText:
    """A cleaned text and its changes; their `removed` add up to how many characters the text lost."""

    text: str
    changes: tuple[Change, ...]


def clean(text: str) -> CleanedText:
    """Repair damage in a text. Cleaning a clean text changes nothing.

    Paragraphs end with one empty line; line breaks within a paragraph stay only if they mean something, as in
    verse. A form feed in the text ends a page.
    """
    changes = ChangeLog()
    # Most files end with a line feed. Without it, a clean text takes one pass instead of two.
    text = changes.apply("white space", trim, text)
    for _ in range(_MAX_PASSES):
        cleaned = _clean_once(text, changes)
        if cleaned == text:
            break
        text = cleaned
    return CleanedText(text, changes.changes())


def clean_line(text: str) -> str:
    """Clean a title, which is a single line without pages, lists or paragraphs."""
    for step in (repair_mojibake, drop_invisible, drop_soft_hyphens):
        text = step(text).text
    return " ".join(text.split())


def _clean_once(text: str, changes: ChangeLog) -> str:
    text = changes.apply("white space", unify_line_ends, text)
    text = changes.apply("mojibake", repair_mojibake, text)
    text = changes.apply("invisible characters", drop_invisible, text)
    text = changes.apply("licence", drop_notices, text)
    text = changes.apply("page numbers", drop_page_numbers, text)
    if "\n" in text or PAGE_END in text:
        text = _clean_lines(text, changes)
    text = changes.apply("hyphenation", drop_soft_hyphens, text)
    return changes.apply("white space", tidy, text)


def _clean_lines(text: str, changes: ChangeLog) -> str:
    """Repair what only a text of several lines or pages can have."""
    text = changes.apply("running heads", drop_running_heads, text)
    is_paged = PAGE_END in text
    text = changes.apply("wrapped lines", join_pages, text)
    text = changes.apply("contents", drop_contents, text)
    # Hyphens of broken words are only marked at first: unwrapping needs the original length of the lines.
    text = mark_broken_words(text)
    if is_paged:
        text = changes.apply("wrapped lines", join_flowed, text)
    return changes.apply("wrapped lines", unwrap, text)
