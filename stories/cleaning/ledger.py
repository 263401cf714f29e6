"""Keeps account of what cleaning changes, so that every character is accounted for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from stories.models import Change, ChangeKind

LONGEST_SAMPLE_CHARACTERS = 200
_CONTEXT_CHARACTERS = 60


class Edit(NamedTuple):
    """What one step made of a text."""

    text: str
    places: int = 0
    """How often it changed something; 0 where the text is as it was."""
    before: str = ""
    """What the first place looked like."""
    after: str = ""


Step = Callable[[str], Edit]


@dataclass
class Ledger:
    """The changes so far, by kind, in the order in which they first happened."""

    _changes: dict[ChangeKind, Change] = field(default_factory=dict)

    def apply(self, kind: ChangeKind, step: Step, text: str) -> str:
        """Take a step and write down what it changed."""
        edit = step(text)
        if edit.text == text:
            return text
        sample = sample_of(text, edit.text) if edit.before == edit.after else (edit.before, edit.after)
        self._note(kind, max(1, edit.places), len(text) - len(edit.text), *sample)
        return edit.text

    def changes(self) -> tuple[Change, ...]:
        """Return one change a kind."""
        return tuple(self._changes.values())

    def _note(self, kind: ChangeKind, places: int, removed: int, before: str, after: str) -> None:
        known = self._changes.get(kind)
        self._changes[kind] = Change(
            kind=kind,
            places=places + (known.places if known else 0),
            removed=removed + (known.removed if known else 0),
            before=known.before if known else shorten(before),
            after=known.after if known else shorten(after),
        )


def shorten(text: str, longest: int = LONGEST_SAMPLE_CHARACTERS) -> str:
    """Cut a text to its greatest length, in characters that every encoding can carry."""
    text = text[: longest + 1].encode("utf-8", "replace").decode()
    if len(text) <= longest:
        return text
    return text[: longest - 1] + "…"


def sample_of(before: str, after: str) -> tuple[str, str]:
    """Return the surroundings of the first place where two texts differ."""
    same = _common_length(before, after)
    start = max(0, same - _CONTEXT_CHARACTERS)
    end = same + _CONTEXT_CHARACTERS
    return before[start:end], after[start:end]


def _common_length(one: str, other: str) -> int:
    # Halving compares long stretches at the speed of memory, where a loop would take seconds on a novel.
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
