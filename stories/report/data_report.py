"""The data report, and how its figures are counted."""

import bisect
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from stories.file_rules import printable
from stories.records import Change, ChangeKind, FrozenModel, Part, Record, Reject

DuplicateKind = Literal["exact", "near", "draft", "part"]

FileVersion = tuple[str, str]
"""Key and version of one file."""

# Limits between the ranges of lengths, in words: a page, an anecdote, a short story, a novella, a novel. They
# are fixed, so that reports can be compared.
_EDGES = (0, 100, 250, 500, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000)


class Duplicate(FrozenModel):
    """Two stories with the same content, or one that is part of the other: one is kept, one is dropped."""

    kept: str
    """File of the story that is kept."""
    dropped: str
    kind: DuplicateKind
    similarity: float
    """0 to 1, estimated from five-word shingles: Jaccard similarity; for a part, its share in the whole."""
    why: str = ""
    """Why they count as one story and why this one is kept, in words."""


class Cleaning(FrozenModel):
    """One kind of change that cleaning made, summed over all stories, with the first place as a sample."""

    kind: ChangeKind
    stories: int
    """Number of stories with this change."""
    places: int
    removed: int
    """Characters removed; negative if some were added."""
    source: str
    """File of the sample."""
    before: str
    after: str


class Outcomes(FrozenModel):
    """How many files were used, in part or not; each file counts once."""

    used: int = 0
    """All of their text is in the dataset."""
    partly: int = 0
    """Part of their text is in the dataset; the rest was rejected."""
    repeated: int = 0
    """All of their text is also in other files."""
    rejected: int = 0


class LengthRange(FrozenModel):
    """Number of stories whose length is in a range."""

    from_words: int
    to_words: int | None
    """End of the range, exclusive; None for the last range."""
    stories: int


class Lengths(FrozenModel):
    """Lengths of the stories in words; a chapter counts as a story."""

    shortest: int = 0
    median: int = 0
    longest: int = 0
    ranges: tuple[LengthRange, ...] = ()
    """Ranges from the shortest story's to the longest's, without gaps."""


Grade = Literal["far too little", "too little", "enough", "plenty"]


class PartSize(FrozenModel):
    """Size of one part of the dataset."""

    stories: int = 0
    words: int = 0
    examples: int = 0


class DataReport(FrozenModel):
    """The data report: what was found in the files, how it is used, and what training will take."""

    run_id: str
    files: int
    """Files read; `kept` of them contained at least one story."""
    files_from_cache: int = 0
    """How many of `files` had not changed since an earlier run, so that they were not read again."""
    kept: int
    rejected: Sequence[Reject]
    stories: int
    """Stories without duplicates."""
    words: int
    languages: dict[str, int]
    """Stories by ISO 639-1 code."""
    duplicates: Sequence[Duplicate]
    split: dict[Part, PartSize]
    enough: bool
    """Whether training goes ahead; it does with grade "too little", but not with "far too little"."""
    verdict: str
    training_minutes_estimate: float
    """At most the time limit, which is also the estimate if speed or size are not known."""
    cost_estimate_usd: float | None
    """Cost of training and evaluation on demand; None if the instance's price is not known."""
    price_date: str = Field(pattern=r"^(\d{4}-\d{2})?$")
    """Month of the price; empty if it is not known."""
    price_source: str = ""
    """Source of the price, in plain words."""
    grade: Grade = "far too little"
    """Grade of the number of words."""
    minimum_words: int = 0
    """Words that training needs; with fewer the grade is "far too little"."""
    words_to_next_grade: int = 0
    """Words missing for the next grade; 0 if there is none."""
    works: int = 0
    """Number of works: single stories and books, with all their chapters."""
    languages_words: dict[str, int] = {}  # noqa: RUF012 - pydantic copies it
    """Words by ISO 639-1 code."""
    lengths: Lengths = Lengths()
    outcomes: Outcomes = Outcomes()
    cleaning: Sequence[Cleaning] = ()
    """Kinds of change, the most frequent first."""
    base_model: str = ""
    """The base model, as named in the settings."""
    instance: str = ""
    """SageMaker instance type of training and evaluation."""
    spot: bool = False
    """Whether training runs on spot instances, which cost less."""
    cost_estimate_spot_usd: float | None = None
    """The same with training on spot; the evaluation always runs on demand."""
    cost_at_most_usd: float | None = None
    """Cost on demand at the time limits of both jobs: the bill for them cannot be higher."""


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
    seen: Collection[FileVersion],
    readable: Collection[FileVersion],
    kept: Collection[FileVersion],
    faulty: Collection[FileVersion],
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


@dataclass
class RejectGroup:
    """Rejects with one reason and one cure."""

    reason: str
    cure: str
    names: list[str] = field(default_factory=list)
    """Names of the first files."""
    count: int = 0
    """Number of all files."""


def group_rejects(rejects: Iterable[Reject], max_names: int) -> list[RejectGroup]:
    """Group rejects by reason and cure, the largest group first.

    Args:
        rejects: the rejects of a report.
        max_names: how many names of files each group keeps.
    """
    found: dict[tuple[str, str], RejectGroup] = {}
    for reject in rejects:
        fault = found.setdefault((reject.reason, reject.cure), RejectGroup(reject.reason, reject.cure))
        fault.count += 1
        if len(fault.names) < max_names:
            entry = f": {reject.entry}" if reject.entry else ""
            fault.names.append(printable(f"{reject.source_key}{entry}"))
    return sorted(found.values(), key=lambda fault: -fault.count)
