"""Record what cleaning changes, so that every character is accounted for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from stories.records import Change, ChangeKind

LONGEST_SAMPLE_CHARACTERS = 200
_CONTEXT_CHARACTERS = 60


class Edit(NamedTuple):
    """The result of one cleaning step."""

    text: str
    places: int = 0
    """How many places it changed; 0 if the text is unchanged."""
    before: str = ""
    """The first place before the change."""
    after: str = ""


CleaningStep = Callable[[str], Edit]


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
