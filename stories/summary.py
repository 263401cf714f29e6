"""Compute the report's figures: what cleaning changed, how files were used, how long stories are."""

import bisect
import statistics
from collections import Counter
from collections.abc import Collection, Iterable

from stories.models import Change, ChangeKind, Cleaning, LengthRange, Lengths, Outcomes, Record

FileVersion = tuple[str, str]
"""Key and version of one file."""

# Limits between the ranges of lengths, in words: a page, an anecdote, a short story, a novella, a novel. They are
# fixed, so that reports can be compared.
_EDGES = (0, 100, 250, 500, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000)


class CleaningTally:
    """Sums the changes of many stories; sums and samples do not depend on their order."""

    def __init__(self) -> None:
        """Create an empty tally."""
        self._stories: Counter[ChangeKind] = Counter()
        self._places: Counter[ChangeKind] = Counter()
        self._removed: Counter[ChangeKind] = Counter()
        self._samples: dict[ChangeKind, tuple[tuple[str, str, int], Change]] = {}

    def add(self, record: Record) -> None:
        """Add one story's changes."""
        order = (record.source_key, record.entry or "", record.position)
        for change in record.changes:
            self._stories[change.kind] += 1
            self._places[change.kind] += change.places
            self._removed[change.kind] += change.removed
            first = self._samples.get(change.kind)
            if first is None or order < first[0]:
                self._samples[change.kind] = (order, change)

    def cleaning(self) -> tuple[Cleaning, ...]:
        """Return the sums of each kind of change, the most frequent first."""
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


def count_outcomes(
    seen: Collection[FileVersion], readable: Collection[FileVersion], kept: Collection[FileVersion], faulty: Collection[FileVersion]
) -> Outcomes:
    """Count how the files were used.

    Args:
        seen: all files.
        readable: files with at least one story.
        kept: files with at least one story in the dataset.
        faulty: files of which at least a part was rejected.
    """
    partly = sum(file in faulty for file in kept)
    return Outcomes(
        used=len(kept) - partly,
        partly=partly,
        repeated=len(readable) - len(kept),
        rejected=len(seen) - len(readable),
    )


def measure_lengths(words: Iterable[int]) -> Lengths:
    """Return the distribution of the stories' lengths.

    Args:
        words: number of words of each story.
    """
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
