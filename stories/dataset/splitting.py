"""Split stories into train, validation and test.

A test on training text does not show how well the model learnt, so whole works are held out, chosen by a hash
of their name. A work that is a fifth of the text or more, such as the only novel, is too large to hold out:
its end is held out instead, with a gap before it, so that no sentence's neighbour is on the other side.
Decisions are recorded in a ledger and hold from then on.
"""

import hashlib
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stories.dataset.duplicates import DroppedStory
from stories.dataset.passages import Passage, assign_sides, hold_out_end, passages
from stories.dataset.record_store import StoryEntry
from stories.dataset.split_ledger import HELD_OUT, Side, SplitLedger, hashed, strictest
from stories.records import PARTS, Part

LARGE_WORK = 0.2
TEST = 0.125
VALIDATION = 0.0625

_MIN_TEST_STORIES = 2
_MIN_TEST = 0.05
_ENOUGH_TEST = 0.1
_MIN_VALIDATION = 0.03
_MIN_HELD_OUT: dict[Part, float] = {"test": _ENOUGH_TEST, "validation": _MIN_VALIDATION}
_MAX: dict[Part, float] = {"test": 0.15, "validation": 0.1}
_LAST: dict[Part, float] = {"test": 0.1, "validation": 0.05}
_MIN_CHAPTERS = 8
_MAX_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class StorySpan:
    """A story, or the part of it between two character positions."""

    entry: StoryEntry
    begin: int = 0
    end: int | None = None
    words: int = 0


@dataclass
class Split:
    """The result of a split."""

    parts: dict[Part, list[StorySpan]]
    ledger: SplitLedger
    """The ledger for the next split."""
    gap: list[StorySpan] = field(default_factory=list)
    """Spans left unused between the training text and the held-out text of one work."""
    large_works: list[str] = field(default_factory=list)
    """Works of which only a part is held out."""


TextOf = Callable[[StoryEntry], str]
"""Reads an entry's text from disk."""


def split_stories(
    entries: Sequence[StoryEntry], dropped: Sequence[DroppedStory], text_of: TextOf, ledger: SplitLedger
) -> Split:
    """Split stories into train, validation and test.

    Args:
        entries: stories without duplicates, in reading order.
        dropped: their duplicates; a kept story takes the recorded side of its duplicate.
        text_of: reads a text that is too large to be on one side.
        ledger: the ledger of the previous split; an empty one for the first.
    """
    result = _Splitting(entries, dropped, text_of, ledger).run()
    lost = [part for part in HELD_OUT if ledger.has_part(part) and not result.parts[part]]
    if lost:
        # All held-out stories were deleted: some training stories are held out now, never the other way
        # round.
        chosen = _choose_released(entries, result, sum(_MIN_HELD_OUT[part] for part in lost))
        present = itertools.chain(entries, (copy.entry for copy in dropped))
        result = _Splitting(entries, dropped, text_of, ledger.without_training_text(chosen, present)).run()
    return result


def _choose_released(entries: Sequence[StoryEntry], before: Split, share: float) -> list[StoryEntry]:
    """Choose whole works from train, in the order of their hashes, that make up a share of the words."""
    trained = {span.entry for span in before.parts["train"]}
    works: defaultdict[str, list[StoryEntry]] = defaultdict(list)
    for entry in entries:
        works[entry.work].append(entry)
    released: list[StoryEntry] = []
    wanted = share * _words(entries)
    for work in sorted(works, key=lambda work: (hash_fraction(work), work)):
        if wanted <= 0:
            break
        if trained.issuperset(works[work]):
            released += works[work]
            wanted -= _words(works[work])
    return released


def hash_fraction(work: str) -> float:
    """Return the hash of a work's name as a number from 0 to 1, distributed evenly."""
    return int.from_bytes(hashlib.sha256(f"split:{work}".encode()).digest()[:8], "big") / 2**64


class _Splitting:
    """One split: first the stories in the ledger, then new stories of known works, then new works."""

    def __init__(
        self,
        entries: Sequence[StoryEntry],
        dropped: Sequence[DroppedStory],
        text_of: TextOf,
        known: SplitLedger,
    ) -> None:
        self._text_of = text_of
        self._known = known
        self._left_out = dropped
        self._duplicates_of: defaultdict[StoryEntry, list[DroppedStory]] = defaultdict(list)
        for duplicate in dropped:
            self._duplicates_of[duplicate.kept].append(duplicate)
        self._works: defaultdict[str, list[StoryEntry]] = defaultdict(list)
        for entry in entries:
            self._works[entry.work].append(entry)
        self._total = _words(entries)
        self._split = Split({part: [] for part in PARTS}, known.model_copy(deep=True))
        self._sides: dict[StoryEntry, Side] = {}
        self._placed_words: Counter[Side] = Counter()

    def run(self) -> Split:
        """Assign a side to every story."""
        for entry in itertools.chain.from_iterable(self._works.values()):
            side = self._recorded_side(entry)
            if side is not None:
                self._sides[entry] = side
        self._mark_held_out_parts()
        # In the order of their hashes, which does not change when works are added.
        queue = sorted(self._works, key=lambda work: (hash_fraction(work), work))
        cut = {work for work in queue if self._is_cut(work)}
        known = {work for work in queue if work not in cut and self._is_known(work)}
        grown = {work for work in known if not all(entry in self._sides for entry in self._works[work])}
        new = [work for work in queue if work not in cut and work not in known]
        large = {work for work in new if _words(self._works[work]) > self._total * LARGE_WORK}
        for works, put in (
            (cut, self._cut),
            (known - grown, self._keep_with_work),
            (grown, self._keep_with_work),
            (large, self._hold_out_the_end),
        ):
            for work in filter(works.__contains__, queue):
                put(work, self._works[work])
        self._assign_new_works([work for work in new if work not in large])
        return self._finished()

    def _recorded_side(self, entry: StoryEntry) -> Side | None:
        """Return the recorded side of a story or of its duplicates; None if there is none."""
        duplicates = self._duplicates_of.get(entry, ())
        return strictest(
            [
                self._known.side_of(entry),
                *(
                    self._known.side_of(copy.entry) or self._known.side_of_work(copy.entry.work)
                    for copy in duplicates
                    if copy.duplicate.kind != "part"
                ),
            ]
        )

    def _mark_held_out_parts(self) -> None:
        """Hold out the passages of a larger text that contain a held-out story."""
        for part in self._left_out:
            side = self._known.side_of(part.entry)
            whole = self._sides.get(part.kept) or self._known.side_of_work(part.kept.work)
            if part.duplicate.kind == "part" and side in HELD_OUT and whole != side:
                for passage in self._passages(part.entry):
                    self._split.ledger.passages.setdefault(passage.key, side)
                self._sides[part.kept] = "cut"

    def _is_cut(self, work: str) -> bool:
        return self._known.side_of_work(work) == "cut" or any(
            self._sides.get(entry) == "cut" for entry in self._works[work]
        )

    def _is_known(self, work: str) -> bool:
        return self._known.side_of_work(work) is not None or any(
            entry in self._sides for entry in self._works[work]
        )

    def _keep_with_work(self, work: str, members: Sequence[StoryEntry]) -> None:
        """Assign the new stories of a known work to its side, or, if it has several sides, among them."""
        found = {self._sides[entry] for entry in members if entry in self._sides}
        home = self._known.side_of_work(work) or (next(iter(found)) if len(found) == 1 else None)
        if home == "train" or (home in HELD_OUT and self._has_room(home, _words(members))):
            self._sides = dict.fromkeys(members, home) | self._sides
        held_out = [self._sides.get(entry) in HELD_OUT for entry in members]
        for number, entry in enumerate(members):
            beside = any(held_out[max(0, number - 1) : number + 2])
            self._sides.setdefault(entry, "gap" if beside else "train")
        self._place_whole(work, {entry: self._sides[entry] for entry in members})

    def _hold_out_the_end(self, work: str, members: Sequence[StoryEntry]) -> None:
        """Hold out the last tenth of a work for the test and the text before it for validation."""
        if len(members) < _MIN_CHAPTERS:
            found = list(itertools.chain.from_iterable(self._passages(entry) for entry in members))
            held_out = self._split.ledger.passages
            # If the work has come back under another name, its held-out passages are recorded.
            if not any(passage.key in held_out for passage in found):
                held_out |= hold_out_end(found, _LAST["test"], _LAST["validation"])
            if any(passage.key in held_out for passage in found):
                self._cut(work, members)
            else:
                self._place_whole(work, dict.fromkeys(members, "train"))
            return
        left = list(members)
        total = _words(members)
        ends: dict[Side, list[StoryEntry]] = {
            part: _take_last(left, total * _LAST[part]) for part in HELD_OUT
        }
        ends["gap"] = _take_last(left, 0)
        of = {entry: side for side, taken in ends.items() for entry in taken}
        self._place_whole(work, {entry: of.get(entry, "train") for entry in members})

    def _cut(self, work: str, members: Sequence[StoryEntry]) -> None:
        """Split a work at its passages, as recorded in the ledger."""
        found = [(entry, passage) for entry in members for passage in self._passages(entry)]
        held_out = self._split.ledger.passages
        for entry, passage in found:
            # A story that was held out as a whole, before the work was cut, stays held out when it comes
            # back.
            if (side := self._sides.get(entry)) in HELD_OUT:
                held_out.setdefault(passage.key, side)
        alone = [passage for _, passage in found]
        assigned = assign_sides(alone, held_out)
        for _ in range(_MAX_ROUNDS):
            kept = {
                passage.key: side
                for passage, side in zip(alone, assigned, strict=True)
                if side in HELD_OUT and passage.key not in held_out
            }
            if not kept:
                break
            held_out |= kept
            assigned = assign_sides(alone, held_out)
        # A malicious text could add a passage in every round: passages that are held out elsewhere are unused
        # here.
        assigned = [
            "gap" if side == "train" and passage.key in held_out else side
            for passage, side in zip(alone, assigned, strict=True)
        ]
        placed = []
        for (entry, side), group in itertools.groupby(
            zip(found, assigned, strict=True), key=lambda item: (item[0][0], item[1])
        ):
            run = [passage for (_, passage), _ in group]
            words = sum(passage.words for passage in run)
            placed.append((StorySpan(entry, run[0].begin, run[-1].end, words), side))
        self._place(work, placed)
        self._split.ledger.record_work(work, dict.fromkeys(members, "cut"))

    def _passages(self, entry: StoryEntry) -> list[Passage]:
        text = self._text_of(entry)
        return [Passage(0, len(text), entry.words, hashed(entry.id))] if entry.is_chat else passages(text)

    def _assign_new_works(self, queue: Sequence[str]) -> None:
        """Assign each new work to a part by its hash, and hold out enough even of few stories."""
        left = deque(queue)
        guarantee = not self._split.large_works
        while left:
            words = self._placed_words["test"]
            enough = words >= self._total * _ENOUGH_TEST or (
                len(self._split.parts["test"]) >= _MIN_TEST_STORIES and words >= self._total * _MIN_TEST
            )
            if not self._is_chosen(left[0], "test", TEST) and (enough or not guarantee):
                break
            self._place_all(left.popleft(), "test")
        while left:
            enough = self._placed_words["validation"] >= self._total * _MIN_VALIDATION
            if not self._is_chosen(left[0], "validation", TEST + VALIDATION) and (enough or not guarantee):
                break
            self._place_all(left.popleft(), "validation")
        for work in left:
            self._place_all(work, "train")

    def _is_chosen(self, work: str, part: Part, below: float) -> bool:
        return hash_fraction(work) < below and self._has_room(part, _words(self._works[work]))

    def _has_room(self, part: Part, words: int) -> bool:
        return self._placed_words[part] + words <= self._total * _MAX[part]

    def _place_all(self, work: str, part: Part) -> None:
        self._place_whole(work, dict.fromkeys(self._works[work], part))

    def _place_whole(self, work: str, of: Mapping[StoryEntry, Side]) -> None:
        """Place each story of a work on its side, and record it."""
        self._place(work, [(StorySpan(entry, words=entry.words), side) for entry, side in of.items()])
        self._split.ledger.record_work(work, of)

    def _place(self, work: str, placed: Sequence[tuple[StorySpan, Side]]) -> None:
        for span, side in placed:
            if side == "gap":
                self._split.gap.append(span)
            elif side != "cut":
                self._split.parts[side].append(span)
                self._placed_words[side] += span.words
        used = {side for _, side in placed}
        if used & {*HELD_OUT} and "train" in used:
            self._split.large_works.append(work)

    def _finished(self) -> Split:
        """Return the split in reading order; a duplicate is recorded on the side of the kept story."""
        ledger = self._split.ledger
        for copy in self._left_out:
            side = strictest([ledger.side_of(copy.entry), ledger.side_of(copy.kept)])
            if side is not None:
                ledger.record(copy.entry, side)
                if copy.entry.work not in self._works:
                    ledger.works.setdefault(hashed(copy.entry.work), side)
        for spans in (*self._split.parts.values(), self._split.gap):
            spans.sort(key=lambda span: (span.entry.order, span.begin))
        return self._split


def _take_last(units: list[StoryEntry], words: float) -> list[StoryEntry]:
    """Remove the last unit from the list, and more until their words are closest to a number."""
    taken = [units.pop()] if units else []
    total = _words(taken)
    while units and total + units[-1].words / 2 < words:
        taken.append(units.pop())
        total += taken[-1].words
    return taken[::-1]


def _words(entries: Iterable[StoryEntry]) -> int:
    return sum(entry.words for entry in entries)
