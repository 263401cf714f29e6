"""Clean text: undo what scanning, printing, line wrapping and distributors added or broke.

What the author wrote (typography, dialogue, verse, letters) stays exactly as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from stories.cleaning.characters import drop_invisible, repair_mojibake, trim, unify_line_ends
from stories.cleaning.contents import drop_contents
from stories.cleaning.notices import drop_notices
from stories.cleaning.pages import PAGE_END, drop_page_numbers, drop_running_heads, join_pages
from stories.cleaning.wrapping import drop_soft_hyphens, join_flowed, mark_broken_words, tidy, unwrap
from stories.records import Change, ChangeKind, Edit

LONGEST_SAMPLE_CHARACTERS = 200
_CONTEXT_CHARACTERS = 60
_MAX_PASSES = 10

CleaningStep = Callable[[str], Edit]


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


def _clean_once(text: str, changes: "ChangeLog") -> str:
    text = changes.apply("white space", unify_line_ends, text)
    text = changes.apply("mojibake", repair_mojibake, text)
    text = changes.apply("invisible characters", drop_invisible, text)
    text = changes.apply("licence", drop_notices, text)
    text = changes.apply("page numbers", drop_page_numbers, text)
    if "\n" in text or PAGE_END in text:
        text = _clean_lines(text, changes)
    text = changes.apply("hyphenation", drop_soft_hyphens, text)
    return changes.apply("white space", tidy, text)


def _clean_lines(text: str, changes: "ChangeLog") -> str:
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


@dataclass
class ChangeLog:
    """The changes so far, one for each kind, in the order of their first occurrence."""

    _changes: dict[ChangeKind, Change] = field(default_factory=dict)

    def apply(self, kind: ChangeKind, step: CleaningStep, text: str) -> str:
        """Apply a step to a text and record what it changed."""
        edit = step(text)
        if edit.text == text:
            return text
        sample = first_difference(text, edit.text) if edit.before == edit.after else (edit.before, edit.after)
        self._note(kind, max(1, edit.places), len(text) - len(edit.text), *sample)
        return edit.text

    def changes(self) -> tuple[Change, ...]:
        """Return one change for each kind."""
        return tuple(self._changes.values())

    def _note(self, kind: ChangeKind, places: int, removed: int, before: str, after: str) -> None:
        known = self._changes.get(kind)
        self._changes[kind] = Change(
            kind=kind,
            places=places + (known.places if known else 0),
            removed=removed + (known.removed if known else 0),
            before=known.before if known else shorten_sample(before),
            after=known.after if known else shorten_sample(after),
        )


def shorten_sample(text: str, longest: int = LONGEST_SAMPLE_CHARACTERS) -> str:
    """Cut a text to a maximum length, and replace characters that UTF-8 cannot encode."""
    text = text[: longest + 1].encode("utf-8", "replace").decode()
    if len(text) <= longest:
        return text
    return text[: longest - 1] + "…"


def first_difference(before: str, after: str) -> tuple[str, str]:
    """Return the first difference between two texts, with some context."""
    same = _common_length(before, after)
    start = max(0, same - _CONTEXT_CHARACTERS)
    end = same + _CONTEXT_CHARACTERS
    return before[start:end], after[start:end]


def _common_length(one: str, other: str) -> int:
    # Bisection compares long slices at the speed of memory; a loop would take seconds on a novel.
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
