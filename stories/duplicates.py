"""Finds stories that say the same as another: word for word, nearly, as a draft of it or as a part of it."""

import math
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from stories.drafts import draft_name, story_names
from stories.fingerprint import jaccard
from stories.models import Duplicate, DuplicateKind
from stories.postings import Postings
from stories.store import Entry, RecordStore
from stories.time_budget import TimeBudget

NEAR = 0.5
"""Jaccard similarity of five-word shingles from which two stories are one. A story with every twelfth word
changed is at 0.5; two stories by one author about one place stay below 0.05."""
DRAFT = 0.1
"""The same for two stories of one name: a tenth of the wording is more than a story told anew shares."""
DRAFT_INSIDE = 0.2
"""Or so much of the shorter one stands in the longer one: the draft was a sketch of it."""

# Two of a sketch's values are a band. Sketches of which half the values agree have 16 bands in common, and
# fewer than three less than once in a million million; stories that are not near hardly ever have so many.
_BAND = 2
_FEWEST_BANDS = 3
_GOLDEN = 0x9E3779B97F4A7C15
_63_BITS = 2**63 - 1
# Fewer tell too little: a text of fewer than about 130 words is not looked for inside others.
_FEWEST_SAMPLED = 8
_ONE_SIZE = 1.5
_PREPARED = "stories were prepared for comparison"


@dataclass(frozen=True)
class LeftOut:
    """A story that is left out, the one that stays for it, and what the report says of the two."""

    entry: Entry
    stays: Entry
    duplicate: Duplicate


def leave_out(store: RecordStore, budget: TimeBudget | None = None) -> tuple[list[Entry], list[LeftOut]]:
    """Leave out every story that says the same as a newer one, or that is part of a larger one.

    A story is compared with those that stay, the newest first. So of a chain, where the second is near the
    first and the third near the second, what stays is never near anything else that stays.

    Args:
        store: has the stories.
        budget: how long it may take.

    Returns:
        the stories that stay, and those that do not; both in reading order.

    Raises:
        OutOfTimeError: it would take longer.
    """
    budget = budget or TimeBudget()
    in_order = sorted(store.entries, key=lambda entry: entry.order)
    whole, twins = _without_twins(sorted(in_order, key=_newness, reverse=True), store, budget)
    kept, parts = _without_parts(sorted(whole, key=_size_class, reverse=True), store, budget)
    owners = {part.entry: part for part in parts}
    pairs = parts + [_in_the_larger(twin, owners) for twin in twins]
    return (
        sorted(kept, key=lambda entry: entry.order),
        sorted(pairs, key=lambda pair: pair.entry.order),
    )


def _newness(entry: Entry) -> tuple[str, tuple[int, int], str]:
    """Sort by age: by day, then by what the name says, since files dropped together are all of one day."""
    name = PurePosixPath(entry.path).stem
    return entry.modified_at[:10], draft_name(name).revision, entry.modified_at


def _without_twins(
    newest_first: Sequence[Entry], store: RecordStore, budget: TimeBudget
) -> tuple[list[Entry], list[LeftOut]]:
    likely = _LikelyTwins(newest_first, store, budget)
    drafts = _Drafts(newest_first, store, budget)
    exact: dict[bytes, Entry] = {}
    kept: list[Entry] = []
    pairs: list[LeftOut] = []
    compared = budget.track(newest_first, "stories were compared with each other", total=len(newest_first))
    for place, entry in enumerate(compared):
        pair = _exact(entry, exact.get(entry.digest)) or likely.find(place) or drafts.find(place)
        if pair is not None:
            pairs.append(pair)
            continue
        likely.stays(place)
        drafts.stays(place)
        exact[entry.digest] = entry
        kept.append(entry)
    return kept, pairs


class _LikelyTwins:
    """Finds the story that is nearest to one, among those whose sketches share bands with its own."""

    def __init__(self, stories: Sequence[Entry], store: RecordStore, budget: TimeBudget) -> None:
        """Stories go by their place in the sequence."""
        self._stories = stories
        self._store = store
        self._postings = Postings(store.database, "bands")
        for place, entry in enumerate(budget.track(stories, _PREPARED)):
            self._postings.add(place, _bands(store.sketch(entry)))
        self._postings.settle()

    def stays(self, place: int) -> None:
        """Compare later ones with this story."""
        self._postings.claim(place)

    def find(self, place: int) -> LeftOut | None:
        """Return the pair of a story and the nearest one that stays, if that is near."""
        entry = self._stories[place]
        sketch = self._store.sketch(entry)
        scored = [
            (jaccard(sketch, self._store.sketch(self._stories[other])), -other)
            for other, bands in self._postings.claimants(place).items()
            if bands >= _FEWEST_BANDS
        ]
        similarity, other = max(scored, default=(0.0, 0))
        return _near(entry, self._stories[-other], similarity) if similarity >= NEAR else None


def _bands(sketch: "array[int]") -> set[int]:
    """Return a number for every band, of 63 bits: the same number for the same values in the same band."""
    pairs = zip(sketch[::_BAND], sketch[1::_BAND], strict=True)
    return {(number * _GOLDEN ^ one << 32 ^ other) & _63_BITS for number, (one, other) in enumerate(pairs)}


class _Drafts:
    """Finds a story of the same name that shares some of its wording, though not half of it."""

    def __init__(self, stories: Sequence[Entry], store: RecordStore, budget: TimeBudget) -> None:
        """Stories go by their place in the sequence."""
        self._stories = stories
        self._store = store
        self._shared = _shared_names(stories)
        self._postings = Postings(store.database, "drafts")
        for place, entry in enumerate(budget.track(stories, _PREPARED)):
            spaces = {_space(name) for name in _names(entry) & self._shared}
            if spaces:
                sample = store.sample(entry)
                self._postings.add(place, (space | number for space in spaces for number in sample))
        self._postings.settle()

    def stays(self, place: int) -> None:
        """Compare later ones with this story."""
        self._postings.claim(place)

    def find(self, place: int) -> LeftOut | None:
        """Return the pair with the later draft that shares the most with a story, where there is one."""
        entry = self._stories[place]
        shared: Counter[int] = Counter()
        names: dict[int, str] = {}
        for name in sorted(_names(entry) & self._shared):
            space = _space(name)
            found = self._postings.claimants(place, space, space | 2**32 - 1)
            shared |= found
            names |= dict.fromkeys(found, name)
        pairs = (self._draft(entry, other, shared[other], names[other]) for other in sorted(shared))
        return max(filter(None, pairs), key=lambda pair: pair.duplicate.similarity, default=None)

    def _draft(self, entry: Entry, place: int, shared: int, name: str) -> LeftOut | None:
        other = self._stories[place]
        if other.path == entry.path:
            return None
        similarity = jaccard(self._store.sketch(other), self._store.sketch(entry))
        fewest = min(len(self._store.sample(other)), len(self._store.sample(entry)))
        inside = shared / fewest if fewest >= _FEWEST_SAMPLED else 0.0
        is_draft = similarity >= DRAFT or inside >= DRAFT_INSIDE
        return _draft(entry, other, similarity, name) if is_draft else None


def _shared_names(entries: Iterable[Entry]) -> set[str]:
    """Return the names that stories of several files have (a file's own chapters are no drafts)."""
    files: dict[str, str] = {}
    shared: set[str] = set()
    for entry in entries:
        for name in _names(entry):
            if files.setdefault(name, entry.path) != entry.path:
                shared.add(name)
    return shared


def _space(name: str) -> int:
    """Return where the numbers of a name's stories begin, among those of all names."""
    return (zlib.crc32(name.encode("utf-8", "surrogatepass")) >> 1) << 32


def _without_parts(
    largest_first: Sequence[Entry], store: RecordStore, budget: TimeBudget
) -> tuple[list[Entry], list[LeftOut]]:
    """Leave out stories that stand in a larger text, such as a chapter beside its whole book.

    The two are too different in size for their similarity to show it; the share of the smaller one's shingles
    that the larger one has does.
    """
    postings = Postings(store.database, "parts", first_keeps=True)
    for place, entry in enumerate(budget.track(largest_first, _PREPARED)):
        postings.add(place, store.sample(entry))
    postings.settle()
    kept: list[Entry] = []
    pairs: list[LeftOut] = []
    for place, entry in enumerate(budget.track(largest_first, "stories were looked for in larger ones")):
        found = postings.claimants(place)
        owner = min(found, key=lambda other: (-found[other], other), default=None)
        if owner is not None:
            sampled = len(store.sample(entry))
            if sampled >= _FEWEST_SAMPLED and found[owner] >= sampled * NEAR:
                pairs.append(_part(entry, largest_first[owner], found[owner] / sampled))
                continue
        postings.claim(place)
        kept.append(entry)
    return kept, pairs


def _size_class(entry: Entry) -> int:
    """Return a number that texts of about one size share: of those the newer one is to stay."""
    return round(math.log(max(1, entry.words), _ONE_SIZE))


def _names(entry: Entry) -> frozenset[str]:
    return story_names(entry.path, entry.title)


def _exact(entry: Entry, stays: Entry | None) -> LeftOut | None:
    if stays is None:
        return None
    return _pair(
        entry, stays, "exact", 1.0, f"The two are the same word for word. {_why_it_stays(stays, entry)}"
    )


def _near(entry: Entry, stays: Entry, similarity: float) -> LeftOut:
    names = sorted(_names(entry) & _names(stays))
    if names and entry.path != stays.path:
        return _draft(entry, stays, similarity, names[0])
    why = f"{_percent(similarity)} of their wording is the same. {_why_it_stays(stays, entry)}"
    return _pair(entry, stays, "near", similarity, why)


def _draft(entry: Entry, stays: Entry, similarity: float, name: str) -> LeftOut:
    why = (
        f"Both are called “{name}” and {_percent(similarity)} of their wording is the same: two drafts of "
        f"one story. {_why_it_stays(stays, entry)}"
    )
    return _pair(entry, stays, "draft", similarity, why)


def _part(entry: Entry, stays: Entry, share: float) -> LeftOut:
    return _pair(entry, stays, "part", share, f"{_percent(share)} of it stands in the text that stays.")


def _in_the_larger(twin: LeftOut, owners: dict[Entry, LeftOut]) -> LeftOut:
    """Name what is in the dataset, where the story that should stay for this one is a part of another."""
    part = owners.get(twin.stays)
    if part is None:
        return twin
    why = f"It says the same as {twin.stays.name}, which stands in the text that stays."
    changed = {"kept": part.stays.name, "kind": "part", "why": why}
    return replace(twin, stays=part.stays, duplicate=twin.duplicate.model_copy(update=changed))


def _why_it_stays(stays: Entry, dropped: Entry) -> str:
    (day, revision, _), (other_day, other_revision, _) = _newness(stays), _newness(dropped)
    if day == other_day and revision != other_revision:
        return "The one that stays is the later one by its name."
    if stays.modified_at == dropped.modified_at:
        return "They are of the same age, so the first by name stays."
    return "The newer one stays."


def _percent(similarity: float) -> str:
    return f"{round(100 * similarity)}%"


def _pair(entry: Entry, stays: Entry, kind: DuplicateKind, similarity: float, why: str) -> LeftOut:
    named = Duplicate(
        kept=stays.name, dropped=entry.name, kind=kind, similarity=round(similarity, 3), why=why
    )
    return LeftOut(entry, stays, named)
