"""Decides which stories the model is trained on and which it is tested on.

A story that the model has seen says nothing of how well it learnt, so whole works are held out, chosen by a
hash of their name: adding stories later moves hardly any story from one side to the other. A work that is a
fifth of the text or more, such as the only novel, is too much to hold out: its last part is held out in its
place, with a gap before it, so that no sentence's neighbour is on the other side.
"""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from stories.models import Part
from stories.store import Entry

LARGE_WORK = 0.2
TEST = 0.125
VALIDATION = 0.0625

_FEWEST_TEST_STORIES = 2
_LEAST_TEST = 0.05
_ENOUGH_TEST = 0.1
_MOST_TEST = 0.15
_LEAST_VALIDATION = 0.03
_MOST_VALIDATION = 0.1
_LAST_TEST = 0.1
_LAST_VALIDATION = 0.05
_FEWEST_UNITS = 8
_SECTIONS = 20


@dataclass(frozen=True)
class Piece:
    """A story, or the part of it between two character positions."""

    entry: Entry
    begin: int = 0
    end: int | None = None
    words: int = 0


@dataclass(frozen=True)
class Split:
    """Which pieces go where."""

    parts: dict[Part, list[Piece]]
    gap: list[Piece] = field(default_factory=list)
    """Left out between what is trained on and what is held out of the same work."""
    large_works: list[str] = field(default_factory=list)
    """Works of which only the end is held out."""


Sectioner = Callable[[Entry, int], Iterable[tuple[int, int, int]]]
"""Cuts an entry's text into about so many sections: begin, end (characters) and words of each."""


def split(entries: Sequence[Entry], sectioner: Sectioner) -> Split:
    """Split stories into train, validation and test.

    Args:
        entries: stories without duplicates, in reading order.
        sectioner: cuts a story that is too large a part of the whole.
    """
    total = sum(entry.words for entry in entries)
    works: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        works[entry.work].append(entry)
    result = Split({"train": [], "validation": [], "test": []})
    small: dict[str, list[Entry]] = {}
    for work, members in works.items():
        if sum(entry.words for entry in members) > total * LARGE_WORK:
            _hold_out_the_end(work, members, sectioner, result)
        else:
            small[work] = members
    for work, part in _assign(small, total, guarantee=not result.large_works).items():
        result.parts[part] += [Piece(entry, words=entry.words) for entry in small[work]]
    for pieces in result.parts.values():
        pieces.sort(key=lambda piece: (piece.entry.order, piece.begin))
    return result


def draw(work: str) -> float:
    """Return the lot of a work, from 0 up to 1: always the same for the same name, even over all names."""
    return int.from_bytes(hashlib.sha256(f"split:{work}".encode()).digest()[:8], "big") / 2**64


def _assign(works: dict[str, list[Entry]], total: int, *, guarantee: bool) -> dict[str, Part]:
    """Give each work its part by its lot; `guarantee` sees to it that enough is held out of few stories."""
    queue = sorted(works, key=lambda work: (draw(work), work))
    parts: dict[str, Part] = dict.fromkeys(queue, "train")
    tested = words = 0
    while queue:
        size = _words(works[queue[0]])
        enough = words >= total * _ENOUGH_TEST or (
            tested >= _FEWEST_TEST_STORIES and words >= total * _LEAST_TEST
        )
        drawn = draw(queue[0]) < TEST and words + size <= total * _MOST_TEST
        if not drawn and (enough or not guarantee):
            break
        tested += len(works[queue[0]])
        words += size
        parts[queue.pop(0)] = "test"
    words = 0
    while queue:
        size = _words(works[queue[0]])
        drawn = draw(queue[0]) < TEST + VALIDATION and words + size <= total * _MOST_VALIDATION
        if not drawn and (words >= total * _LEAST_VALIDATION or not guarantee):
            break
        words += size
        parts[queue.pop(0)] = "validation"
    return parts


def _hold_out_the_end(work: str, members: Sequence[Entry], sectioner: Sectioner, result: Split) -> None:
    """Hold out the last tenth of a work for the test and what stands before it for validation."""
    units = [Piece(entry, words=entry.words) for entry in members]
    if len(units) < _FEWEST_UNITS:
        units = [piece for entry in members for piece in _sections(entry, len(members), sectioner)]
    total = sum(unit.words for unit in units)
    left = list(units)
    test = _take_last(left, total * _LAST_TEST)
    validation = _take_last(left, total * _LAST_VALIDATION)
    gap = _take_last(left, 0)
    if not left:
        result.parts["train"] += _joined(units)
        return
    result.large_works.append(work)
    result.gap.extend(gap)
    result.parts["test"] += _joined(test)
    result.parts["validation"] += _joined(validation)
    result.parts["train"] += _joined(left)


def _sections(entry: Entry, members: int, sectioner: Sectioner) -> list[Piece]:
    if entry.is_chat:
        return [Piece(entry, words=entry.words)]
    sections = sectioner(entry, -(-_SECTIONS // members))
    return [Piece(entry, begin, end, words) for begin, end, words in sections]


def _take_last(units: list[Piece], words: float) -> list[Piece]:
    """Move the last unit out of the list, and more until their words come closest to so many."""
    taken = [units.pop()] if units else []
    while units and sum(piece.words for piece in taken) + units[-1].words / 2 < words:
        taken.insert(0, units.pop())
    return taken


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Join the neighbouring sections of one story to one piece."""
    joined: list[Piece] = []
    for entry, group in itertools.groupby(pieces, key=lambda piece: piece.entry):
        members = list(group)
        joined.append(Piece(entry, members[0].begin, members[-1].end, sum(piece.words for piece in members)))
    return joined


def _words(entries: Iterable[Entry]) -> int:
    return sum(entry.words for entry in entries)
