"""Find duplicates: stories that repeat another one word for word, nearly, as a draft or as a part of it."""

import math
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from stories.dataset.record_store import RecordStore, StoryEntry
from stories.dataset.similarity import InvertedIndex, jaccard
from stories.dataset.time_budget import DatasetTimeBudget
from stories.report.data_report import Duplicate, DuplicateKind
from stories.structure.titles import is_chapter_title

NEAR = 0.5
"""Jaccard similarity of five-word shingles from which two stories count as duplicates. A story with every
twelfth word changed has 0.5; two stories by one author about one place stay below 0.05."""
DRAFT = 0.1
"""The same for two stories of one name: a rewritten story shares less than a tenth of the wording."""
DRAFT_INSIDE = 0.2
"""Share of the shorter story in the longer one from which it counts as a draft, such as a sketch of it."""

# A band is two values of a sketch. Sketches with half of their values in common share 16 bands on average,
# and fewer than three less than once in 10^12; other pairs of stories hardly ever share three.
_BAND = 2
_MIN_BANDS = 3
_GOLDEN = 0x9E3779B97F4A7C15
_63_BITS = 2**63 - 1
# Shorter texts, below about 130 words, give too few samples and are not searched for inside others.
_MIN_SAMPLED = 8
_ONE_SIZE = 1.5
_PREPARED = "stories were prepared for comparison"

_EARLY = (
    "draft|rough|wip|old|backup|bak|outline|entwurf|rohfassung|brouillon|ébauche|borrador|bozza|rascunho"
    "|klad|concept"
)
_LATE = (
    "final|finished|revised|rewritten|rewrite|edited|edit|corrected|clean|new|latest|last"
    "|endfassung|überarbeitet|korrigiert|finale|définitive|corrigée?|definitiv[ao]|revisad[ao]|corregid[ao]"
    "|corrett[ao]|corrigid[ao]|definitief|herzien"
)
_VERSION = "version|vers|ver|v|revision|rev|fassung|versión|versione|versão|versie"
_COPY = "copy|kopie|copie|copia|cópia"
# Only at the end of a name, after a separator: “The Last Ferry” is a title, “ferry last” is a draft.
_MARK = re.compile(
    rf"(?:[-_.\s]+[(\[]?|[(\[])(?:(?:(?P<early>{_EARLY})|(?P<late>{_LATE})|(?:{_VERSION})|(?:{_COPY}))"
    r"[-_.\s]*(?P<number>\d{1,3})?|(?P<date>\d{4}[-_.]\d{2}[-_.]\d{2})|(?<=[(\[])(?P<count>\d{1,2}))[)\]]*$",
    re.I,
)
_COPY_OF = re.compile(r"^(?:copy of|kopie von|copie de|copia (?:de|di)|cópia de|kopie van)\s+", re.I)


@dataclass(frozen=True)
class DroppedStory:
    """A story that is dropped as a duplicate, the story that is kept, and the report's entry on the two."""

    entry: StoryEntry
    kept: StoryEntry
    duplicate: Duplicate


def drop_duplicates(
    store: RecordStore, budget: DatasetTimeBudget | None = None
) -> tuple[list[StoryEntry], list[DroppedStory]]:
    """Drop every story that duplicates a newer one or is part of a larger one.

    Stories are compared, newest first, with those that are kept. So in a chain, in which the second is near
    the first and the third near the second, no two kept stories are near each other.

    Args:
        store: the stories.
        budget: the time limit.

    Returns:
        the stories that are kept and those that are dropped, both in reading order.

    Raises:
        TimeBudgetExceededError: the time limit is exceeded, or is going to be.
    """
    budget = budget or DatasetTimeBudget()
    in_order = sorted(store.entries, key=lambda entry: entry.order)
    whole, copies = _drop_near_copies(sorted(in_order, key=_age_key, reverse=True), store, budget)
    kept, parts = _drop_parts(sorted(whole, key=_size_class, reverse=True), store, budget)
    owners = {part.entry: part for part in parts}
    pairs = parts + [_in_containing_story(copy, owners) for copy in copies]
    return (
        sorted(kept, key=lambda entry: entry.order),
        sorted(pairs, key=lambda pair: pair.entry.order),
    )


def _age_key(entry: StoryEntry) -> tuple[str, tuple[int, int], str]:
    """Return a sort key by age: the day, then the revision in the name, as uploads share a day."""
    name = PurePosixPath(entry.path).stem
    return entry.modified_at[:10], draft_name(name).revision, entry.modified_at


def _drop_near_copies(
    newest_first: Sequence[StoryEntry], store: RecordStore, budget: DatasetTimeBudget
) -> tuple[list[StoryEntry], list[DroppedStory]]:
    near_copies = _NearCopies(newest_first, store, budget)
    drafts = _Drafts(newest_first, store, budget)
    exact: dict[bytes, StoryEntry] = {}
    kept: list[StoryEntry] = []
    pairs: list[DroppedStory] = []
    compared = budget.track(newest_first, "stories were compared with each other", total=len(newest_first))
    for place, entry in enumerate(compared):
        pair = _exact(entry, exact.get(entry.digest)) or near_copies.find(place) or drafts.find(place)
        if pair is not None:
            pairs.append(pair)
            continue
        near_copies.keep(place)
        drafts.keep(place)
        exact[entry.digest] = entry
        kept.append(entry)
    return kept, pairs


class _NearCopies:
    """Finds the most similar story among those whose sketches share bands with its own."""

    def __init__(self, stories: Sequence[StoryEntry], store: RecordStore, budget: DatasetTimeBudget) -> None:
        """Stories go by their place in the sequence."""
        self._stories = stories
        self._store = store
        self._index = InvertedIndex(store.database, "bands")
        for place, entry in enumerate(budget.track(stories, _PREPARED)):
            self._index.add(place, _bands(store.sketch(entry)))
        self._index.build()

    def keep(self, place: int) -> None:
        """Compare later ones with this story."""
        self._index.activate(place)

    def find(self, place: int) -> DroppedStory | None:
        """Return the story as a duplicate of the most similar kept one, or None if none is similar enough."""
        entry = self._stories[place]
        sketch = self._store.sketch(entry)
        scored = [
            (jaccard(sketch, self._store.sketch(self._stories[other])), -other)
            for other, bands in self._index.matches(place).items()
            if bands >= _MIN_BANDS
        ]
        similarity, other = max(scored, default=(0.0, 0))
        return _near(entry, self._stories[-other], similarity) if similarity >= NEAR else None


def _bands(sketch: "array[int]") -> set[int]:
    """Return a 63-bit hash for every band, of its values and its position."""
    pairs = zip(sketch[::_BAND], sketch[1::_BAND], strict=True)
    return {(number * _GOLDEN ^ one << 32 ^ other) & _63_BITS for number, (one, other) in enumerate(pairs)}


class _Drafts:
    """Finds a story of the same name that shares some of its wording, but less than half."""

    def __init__(self, stories: Sequence[StoryEntry], store: RecordStore, budget: DatasetTimeBudget) -> None:
        """Stories go by their place in the sequence."""
        self._stories = stories
        self._store = store
        self._shared = _shared_names(stories)
        self._index = InvertedIndex(store.database, "drafts")
        for place, entry in enumerate(budget.track(stories, _PREPARED)):
            spaces = {_space(name) for name in _names(entry) & self._shared}
            if spaces:
                sample = store.sample(entry)
                self._index.add(place, (space | number for space in spaces for number in sample))
        self._index.build()

    def keep(self, place: int) -> None:
        """Compare later ones with this story."""
        self._index.activate(place)

    def find(self, place: int) -> DroppedStory | None:
        """Return the story as a draft of the later one that shares the most with it, or None."""
        entry = self._stories[place]
        shared: Counter[int] = Counter()
        names: dict[int, str] = {}
        for name in sorted(_names(entry) & self._shared):
            space = _space(name)
            found = self._index.matches(place, space, space | 2**32 - 1)
            shared |= found
            names |= dict.fromkeys(found, name)
        pairs = (self._draft(entry, other, shared[other], names[other]) for other in sorted(shared))
        return max(filter(None, pairs), key=lambda pair: pair.duplicate.similarity, default=None)

    def _draft(self, entry: StoryEntry, place: int, shared: int, name: str) -> DroppedStory | None:
        other = self._stories[place]
        if other.path == entry.path:
            return None
        similarity = jaccard(self._store.sketch(other), self._store.sketch(entry))
        fewest = min(len(self._store.sample(other)), len(self._store.sample(entry)))
        inside = shared / fewest if fewest >= _MIN_SAMPLED else 0.0
        is_draft = similarity >= DRAFT or inside >= DRAFT_INSIDE
        return _draft(entry, other, similarity, name) if is_draft else None


def _shared_names(entries: Iterable[StoryEntry]) -> set[str]:
    """Return the names that stories of several files share (chapters of one file are not drafts)."""
    files: dict[str, str] = {}
    shared: set[str] = set()
    for entry in entries:
        for name in _names(entry):
            if files.setdefault(name, entry.path) != entry.path:
                shared.add(name)
    return shared


def _space(name: str) -> int:
    """Return the offset of a name's numbers, so that different names do not share numbers."""
    return (zlib.crc32(name.encode("utf-8", "surrogatepass")) >> 1) << 32


def _drop_parts(
    largest_first: Sequence[StoryEntry], store: RecordStore, budget: DatasetTimeBudget
) -> tuple[list[StoryEntry], list[DroppedStory]]:
    """Drop stories that are contained in a larger text, such as a chapter beside its whole book.

    Jaccard similarity does not show this because the sizes differ too much; the share of the smaller text's
    shingles in the larger one does.
    """
    index = InvertedIndex(store.database, "parts", exclusive=True)
    for place, entry in enumerate(budget.track(largest_first, _PREPARED)):
        index.add(place, store.sample(entry))
    index.build()
    kept: list[StoryEntry] = []
    pairs: list[DroppedStory] = []
    for place, entry in enumerate(budget.track(largest_first, "stories were looked for in larger ones")):
        found = index.matches(place)
        owner = min(found, key=lambda other: (-found[other], other), default=None)
        if owner is not None:
            sampled = len(store.sample(entry))
            if sampled >= _MIN_SAMPLED and found[owner] >= sampled * NEAR:
                pairs.append(_part(entry, largest_first[owner], found[owner] / sampled))
                continue
        index.activate(place)
        kept.append(entry)
    return kept, pairs


def _size_class(entry: StoryEntry) -> int:
    """Return a number that texts of about the same size share; among those the newer one is kept."""
    return round(math.log(max(1, entry.words), _ONE_SIZE))


def _names(entry: StoryEntry) -> frozenset[str]:
    return story_names(entry.path, entry.title)


def _exact(entry: StoryEntry, kept: StoryEntry | None) -> DroppedStory | None:
    if kept is None:
        return None
    return _pair(entry, kept, "exact", 1.0, f"The two are the same word for word. {_why_kept(kept, entry)}")


def _near(entry: StoryEntry, kept: StoryEntry, similarity: float) -> DroppedStory:
    names = sorted(_names(entry) & _names(kept))
    if names and entry.path != kept.path:
        return _draft(entry, kept, similarity, names[0])
    why = f"{_percent(similarity)} of their wording is the same. {_why_kept(kept, entry)}"
    return _pair(entry, kept, "near", similarity, why)


def _draft(entry: StoryEntry, kept: StoryEntry, similarity: float, name: str) -> DroppedStory:
    why = (
        f"Both are called “{name}” and {_percent(similarity)} of their wording is the same: two drafts of "
        f"one story. {_why_kept(kept, entry)}"
    )
    return _pair(entry, kept, "draft", similarity, why)


def _part(entry: StoryEntry, kept: StoryEntry, share: float) -> DroppedStory:
    return _pair(entry, kept, "part", share, f"{_percent(share)} of it is in the text that is kept.")


def _in_containing_story(copy: DroppedStory, owners: dict[StoryEntry, DroppedStory]) -> DroppedStory:
    """Replace the kept story by the text that contains it, if it was itself dropped as a part."""
    part = owners.get(copy.kept)
    if part is None:
        return copy
    why = f"It says the same as {copy.kept.name}, which is part of the text that is kept."
    changed = {"kept": part.kept.name, "kind": "part", "why": why}
    return replace(copy, kept=part.kept, duplicate=copy.duplicate.model_copy(update=changed))


def _why_kept(kept: StoryEntry, dropped: StoryEntry) -> str:
    (day, revision, _), (other_day, other_revision, _) = _age_key(kept), _age_key(dropped)
    if day == other_day and revision != other_revision:
        return "The later one by its name is kept."
    if kept.modified_at == dropped.modified_at:
        return "They are of the same age, so the first by name is kept."
    return "The newer one is kept."


def _percent(similarity: float) -> str:
    return f"{round(100 * similarity)}%"


def _pair(
    entry: StoryEntry, kept: StoryEntry, kind: DuplicateKind, similarity: float, why: str
) -> DroppedStory:
    named = Duplicate(kept=kept.name, dropped=entry.name, kind=kind, similarity=round(similarity, 3), why=why)
    return DroppedStory(entry, kept, named)


@dataclass(frozen=True)
class DraftName:
    """A name without its draft marks, such as `v2` or `final`."""

    story: str
    """The name that all drafts of the story share; empty if the name consists of marks only."""
    revision: tuple[int, int]
    """Sort key of drafts of one story, from early to late; (0, 0) if the name has no marks."""


def draft_name(name: str) -> DraftName:
    """Split a name into story and revision: `the-ferry v2 (final)` is a late draft of "the ferry"."""
    left = _COPY_OF.sub("", name.strip())
    stages: list[int] = []
    numbers: list[int] = []
    while found := _MARK.search(left):
        stages += [-1] if found["early"] else [1] if found["late"] else []
        numbers += [
            int(re.sub(r"\D", "", digits)) for digits in found.group("number", "count", "date") if digits
        ]
        left = left[: found.start()]
    story = re.sub(r"[\W_]+", " ", left).strip().casefold()
    if re.fullmatch(rf"{_EARLY}|{_LATE}|{_VERSION}|{_COPY}", story):
        story = ""
    # “Final draft” is a final version.
    return DraftName(story, (max(stages, default=0), max(numbers, default=0)))


def story_names(path: str, title: str) -> frozenset[str]:
    """Return the names of a story, from its file and its title; drafts of one story share a name."""
    named = [] if is_chapter_title(title) else [draft_name(title).story]
    return frozenset(filter(None, [draft_name(PurePosixPath(path).stem).story, *named]))
