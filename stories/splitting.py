"""Decides which stories the model is trained on and which it is tested on.

A story that the model has seen says nothing of how well it learnt, so whole works are held out, chosen by a
hash of their name. A work that is a fifth of the text or more, such as the only novel, is too much to hold
out: its last part is held out in its place, with a gap before it, so that no sentence's neighbour is on the
other side. What was decided once is remembered in a ledger and holds from then on.
"""

import hashlib
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stories.duplicates import LeftOut
from stories.ledger import HELD_OUT, Ledger, Side, hashed, strictest
from stories.models import PARTS, Part
from stories.passages import Passage, choose_last, passages, sides
from stories.store import Entry

LARGE_WORK = 0.2
TEST = 0.125
VALIDATION = 0.0625

_FEWEST_TEST_STORIES = 2
_LEAST_TEST = 0.05
_ENOUGH_TEST = 0.1
_LEAST_VALIDATION = 0.03
_LEAST_HELD_OUT: dict[Part, float] = {"test": _ENOUGH_TEST, "validation": _LEAST_VALIDATION}
_MOST: dict[Part, float] = {"test": 0.15, "validation": 0.1}
_LAST: dict[Part, float] = {"test": 0.1, "validation": 0.05}
_FEWEST_CHAPTERS = 8
_MOST_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Piece:
    """A story, or the part of it between two character positions."""

    entry: Entry
    begin: int = 0
    end: int | None = None
    words: int = 0


@dataclass
class Split:
    """Which pieces go where."""

    parts: dict[Part, list[Piece]]
    ledger: Ledger
    """For the next split."""
    gap: list[Piece] = field(default_factory=list)
    """Left out between what is trained on and what is held out of the same work."""
    large_works: list[str] = field(default_factory=list)
    """Works of which only a part is held out."""


TextOf = Callable[[Entry], str]
"""Reads an entry's text from the disk."""


def split(entries: Sequence[Entry], left_out: Sequence[LeftOut], text_of: TextOf, ledger: Ledger) -> Split:
    """Split stories into train, validation and test.

    Args:
        entries: stories without duplicates, in reading order.
        left_out: their duplicates; a story that stays for another one stays on the other one's side.
        text_of: reads a text that is too large to be on one side.
        ledger: of the split before this one; an empty one for the first.
    """
    result = _Splitting(entries, left_out, text_of, ledger).run()
    lost = [part for part in HELD_OUT if ledger.knows(part) and not result.parts[part]]
    if lost:
        # It is deleted: some that was trained on is held out now, never the other way round.
        chosen = _released(entries, result, sum(_LEAST_HELD_OUT[part] for part in lost))
        present = itertools.chain(entries, (twin.entry for twin in left_out))
        result = _Splitting(entries, left_out, text_of, ledger.released(chosen, present)).run()
    return result


def _released(entries: Sequence[Entry], before: Split, share: float) -> list[Entry]:
    """Choose whole works out of train, in the order of their lots, that make up a share of the words."""
    trained = {piece.entry for piece in before.parts["train"]}
    works: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        works[entry.work].append(entry)
    released: list[Entry] = []
    wanted = share * _words(entries)
    for work in sorted(works, key=lambda work: (draw(work), work)):
        if wanted <= 0:
            break
        if trained.issuperset(works[work]):
            released += works[work]
            wanted -= _words(works[work])
    return released


def draw(work: str) -> float:
    """Return the lot of a work, from 0 up to 1: always the same for the same name, even over all names."""
    return int.from_bytes(hashlib.sha256(f"split:{work}".encode()).digest()[:8], "big") / 2**64


class _Splitting:
    """One split: first what the ledger knows, then the new stories of known works, then the new works."""

    def __init__(
        self,
        entries: Sequence[Entry],
        left_out: Sequence[LeftOut],
        text_of: TextOf,
        known: Ledger,
    ) -> None:
        self._text_of = text_of
        self._known = known
        self._left_out = left_out
        self._stood_for: defaultdict[Entry, list[LeftOut]] = defaultdict(list)
        for duplicate in left_out:
            self._stood_for[duplicate.stays].append(duplicate)
        self._works: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            self._works[entry.work].append(entry)
        self._total = _words(entries)
        self._split = Split({part: [] for part in PARTS}, known.model_copy(deep=True))
        self._sides: dict[Entry, Side] = {}
        self._placed_words: Counter[Side] = Counter()

    def run(self) -> Split:
        """Put every story somewhere."""
        for entry in itertools.chain.from_iterable(self._works.values()):
            side = self._remembered(entry)
            if side is not None:
                self._sides[entry] = side
        self._mark_held_out_parts()
        # In the order of their lots, which does not change when others come.
        queue = sorted(self._works, key=lambda work: (draw(work), work))
        cut = {work for work in queue if self._is_cut(work)}
        known = {work for work in queue if work not in cut and self._is_known(work)}
        grown = {work for work in known if not all(entry in self._sides for entry in self._works[work])}
        new = [work for work in queue if work not in cut and work not in known]
        large = {work for work in new if _words(self._works[work]) > self._total * LARGE_WORK}
        for works, put in (
            (cut, self._cut),
            (known - grown, self._follow),
            (grown, self._follow),
            (large, self._hold_out_the_end),
        ):
            for work in filter(works.__contains__, queue):
                put(work, self._works[work])
        self._draw_parts([work for work in new if work not in large])
        return self._finished()

    def _remembered(self, entry: Entry) -> Side | None:
        """Return the side of a story that the ledger knows, or for which it knows a duplicate."""
        duplicates = self._stood_for.get(entry, ())
        return strictest(
            [
                self._known.side_of(entry),
                *(
                    self._known.side_of(twin.entry) or self._known.side_of_work(twin.entry.work)
                    for twin in duplicates
                    if twin.duplicate.kind != "part"
                ),
            ]
        )

    def _mark_held_out_parts(self) -> None:
        """Where a held out story now stands in a larger text, hold out that passage of it."""
        for part in self._left_out:
            side = self._known.side_of(part.entry)
            whole = self._sides.get(part.stays) or self._known.side_of_work(part.stays.work)
            if part.duplicate.kind == "part" and side in HELD_OUT and whole != side:
                for passage in self._passages(part.entry):
                    self._split.ledger.passages.setdefault(passage.key, side)
                self._sides[part.stays] = "cut"

    def _is_cut(self, work: str) -> bool:
        return self._known.side_of_work(work) == "cut" or any(
            self._sides.get(entry) == "cut" for entry in self._works[work]
        )

    def _is_known(self, work: str) -> bool:
        return self._known.side_of_work(work) is not None or any(
            entry in self._sides for entry in self._works[work]
        )

    def _follow(self, work: str, members: Sequence[Entry]) -> None:
        """Put the new stories of a work where the others are, or, where these are divided, among them."""
        found = {self._sides[entry] for entry in members if entry in self._sides}
        home = self._known.side_of_work(work) or (next(iter(found)) if len(found) == 1 else None)
        if home == "train" or (home in HELD_OUT and self._has_room(home, _words(members))):
            self._sides = dict.fromkeys(members, home) | self._sides
        held_out = [self._sides.get(entry) in HELD_OUT for entry in members]
        for number, entry in enumerate(members):
            beside = any(held_out[max(0, number - 1) : number + 2])
            self._sides.setdefault(entry, "gap" if beside else "train")
        self._place_whole(work, {entry: self._sides[entry] for entry in members})

    def _hold_out_the_end(self, work: str, members: Sequence[Entry]) -> None:
        """Hold out the last tenth of a work for the test and what stands before it for validation."""
        if len(members) < _FEWEST_CHAPTERS:
            found = list(itertools.chain.from_iterable(self._passages(entry) for entry in members))
            held_out = self._split.ledger.passages
            # Of a work that has come back under another name, what was held out is known.
            if not any(passage.key in held_out for passage in found):
                held_out |= choose_last(found, _LAST["test"], _LAST["validation"])
            if any(passage.key in held_out for passage in found):
                self._cut(work, members)
            else:
                self._place_whole(work, dict.fromkeys(members, "train"))
            return
        left = list(members)
        total = _words(members)
        ends: dict[Side, list[Entry]] = {part: _take_last(left, total * _LAST[part]) for part in HELD_OUT}
        ends["gap"] = _take_last(left, 0)
        of = {entry: side for side, taken in ends.items() for entry in taken}
        self._place_whole(work, {entry: of.get(entry, "train") for entry in members})

    def _cut(self, work: str, members: Sequence[Entry]) -> None:
        """Divide a work at its passages, as the ledger has them."""
        found = [(entry, passage) for entry in members for passage in self._passages(entry)]
        held_out = self._split.ledger.passages
        for entry, passage in found:
            # A story that was held out whole, before the work was cut, stays so when it comes back.
            if (side := self._sides.get(entry)) in HELD_OUT:
                held_out.setdefault(passage.key, side)
        alone = [passage for _, passage in found]
        where = sides(alone, held_out)
        for _ in range(_MOST_ROUNDS):
            kept = {
                passage.key: side
                for passage, side in zip(alone, where, strict=True)
                if side in HELD_OUT and passage.key not in held_out
            }
            if not kept:
                break
            held_out |= kept
            where = sides(alone, held_out)
        # A text may be made so that each round finds one more: what is held out elsewhere is left out here.
        where = [
            "gap" if side == "train" and passage.key in held_out else side
            for passage, side in zip(alone, where, strict=True)
        ]
        placed = []
        for (entry, side), group in itertools.groupby(
            zip(found, where, strict=True), key=lambda item: (item[0][0], item[1])
        ):
            run = [passage for (_, passage), _ in group]
            words = sum(passage.words for passage in run)
            placed.append((Piece(entry, run[0].begin, run[-1].end, words), side))
        self._place(work, placed)
        self._split.ledger.remember_work(work, dict.fromkeys(members, "cut"))

    def _passages(self, entry: Entry) -> list[Passage]:
        text = self._text_of(entry)
        return [Passage(0, len(text), entry.words, hashed(entry.id))] if entry.is_chat else passages(text)

    def _draw_parts(self, queue: Sequence[str]) -> None:
        """Give each new work its part by its lot; see to it that enough is held out of few stories."""
        left = deque(queue)
        guarantee = not self._split.large_works
        while left:
            words = self._placed_words["test"]
            enough = words >= self._total * _ENOUGH_TEST or (
                len(self._split.parts["test"]) >= _FEWEST_TEST_STORIES and words >= self._total * _LEAST_TEST
            )
            if not self._drawn(left[0], "test", TEST) and (enough or not guarantee):
                break
            self._place_all(left.popleft(), "test")
        while left:
            enough = self._placed_words["validation"] >= self._total * _LEAST_VALIDATION
            if not self._drawn(left[0], "validation", TEST + VALIDATION) and (enough or not guarantee):
                break
            self._place_all(left.popleft(), "validation")
        for work in left:
            self._place_all(work, "train")

    def _drawn(self, work: str, part: Part, below: float) -> bool:
        return draw(work) < below and self._has_room(part, _words(self._works[work]))

    def _has_room(self, part: Part, words: int) -> bool:
        return self._placed_words[part] + words <= self._total * _MOST[part]

    def _place_all(self, work: str, part: Part) -> None:
        self._place_whole(work, dict.fromkeys(self._works[work], part))

    def _place_whole(self, work: str, of: Mapping[Entry, Side]) -> None:
        """Put each story of a work on its side, and remember it."""
        self._place(work, [(Piece(entry, words=entry.words), side) for entry, side in of.items()])
        self._split.ledger.remember_work(work, of)

    def _place(self, work: str, placed: Sequence[tuple[Piece, Side]]) -> None:
        for piece, side in placed:
            if side == "gap":
                self._split.gap.append(piece)
            elif side != "cut":
                self._split.parts[side].append(piece)
                self._placed_words[side] += piece.words
        used = {side for _, side in placed}
        if used & {*HELD_OUT} and "train" in used:
            self._split.large_works.append(work)

    def _finished(self) -> Split:
        """Return the split in reading order; a duplicate is remembered with the story that stays."""
        ledger = self._split.ledger
        for twin in self._left_out:
            side = strictest([ledger.side_of(twin.entry), ledger.side_of(twin.stays)])
            if side is not None:
                ledger.remember(twin.entry, side)
                if twin.entry.work not in self._works:
                    ledger.works.setdefault(hashed(twin.entry.work), side)
        for pieces in (*self._split.parts.values(), self._split.gap):
            pieces.sort(key=lambda piece: (piece.entry.order, piece.begin))
        return self._split


def _take_last(units: list[Entry], words: float) -> list[Entry]:
    """Move the last unit out of the list, and more until their words come closest to so many."""
    taken = [units.pop()] if units else []
    total = _words(taken)
    while units and total + units[-1].words / 2 < words:
        taken.append(units.pop())
        total += taken[-1].words
    return taken[::-1]


def _words(entries: Iterable[Entry]) -> int:
    return sum(entry.words for entry in entries)
