"""The report's figures: what cleaning changed, what became of the files, how long the stories are."""

import bisect
import statistics
from collections import Counter
from collections.abc import Collection, Iterable

from stories.models import Change, ChangeKind, Cleaning, LengthRange, Lengths, Outcomes, Record

File = tuple[str, str]
"""Key and version of one file."""

# Words at which one range of lengths ends and the next begins: a page, an anecdote, a short story, a novella,
# a novel. The same for everybody, so that two reports can be compared.
_EDGES = (0, 100, 250, 500, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000)


class CleaningTally:
    """Adds up the changes of many stories; the sums and samples do not depend on their order."""

    def __init__(self) -> None:
        """Begin with none."""
        self._stories: Counter[ChangeKind] = Counter()
        self._places: Counter[ChangeKind] = Counter()
        self._removed: Counter[ChangeKind] = Counter()
        self._samples: dict[ChangeKind, tuple[tuple[str, str, int], Change]] = {}

    def add(self, record: Record) -> None:
        """Count one story's changes."""
        order = (record.source_key, record.entry or "", record.position)
        for change in record.changes:
            self._stories[change.kind] += 1
            self._places[change.kind] += change.places
            self._removed[change.kind] += change.removed
            first = self._samples.get(change.kind)
            if first is None or order < first[0]:
                self._samples[change.kind] = (order, change)

    def cleaning(self) -> tuple[Cleaning, ...]:
        """Return each kind, the most frequent first."""
        kinds = sorted(self._places, key=lambda kind: (-self._places[kind], kind))
        return tuple(self._of(kind) for kind in kinds)

    def _of(self, kind: ChangeKind) -> Cleaning:
        (key, entry, _), sample = self._samples[kind]
        return Cleaning(
            kind=kind,
            stories=self._stories[kind],
            places=self._places[kind],
            removed=self._removed[kind],
            source=f"{key} ({entry})" if entry else key,
            before=sample.before,
            after=sample.after,
        )


def outcomes(
    seen: Collection[File], readable: Collection[File], kept: Collection[File], faulty: Collection[File]
) -> Outcomes:
    """Count what became of the files.

    Args:
        seen: all of them.
        readable: those that gave a story.
        kept: those of which a story is in the dataset.
        faulty: those of which at least a part was rejected.
    """
    partly = sum(file in faulty for file in kept)
    return Outcomes(
        used=len(kept) - partly,
        partly=partly,
        repeated=len(readable) - len(kept),
        rejected=len(seen) - len(readable),
    )


def lengths(words: Iterable[int]) -> Lengths:
    """Sort stories by their length in words."""
    in_order = sorted(words)
    if not in_order:
        return Lengths()
    places = [*(bisect.bisect_left(in_order, edge) for edge in _EDGES), len(in_order)]
    ranges = [
        LengthRange(from_words=begin, to_words=end, stories=until - since)
        for begin, end, since, until in zip(_EDGES, (*_EDGES[1:], None), places, places[1:], strict=False)
    ]
    while not ranges[0].stories:
        ranges.pop(0)
    while not ranges[-1].stories:
        ranges.pop()
    return Lengths(
        shortest=in_order[0],
        median=statistics.median_low(in_order),
        longest=in_order[-1],
        ranges=tuple(ranges),
    )
