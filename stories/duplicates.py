"""Finds stories that say the same as another: word for word, nearly, as a draft of it or as a part of it."""

import hashlib
import itertools
import math
import re
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from rensa import RMinHash, RMinHashLSH

from stories.drafts import draft_name, story_names
from stories.models import Duplicate, DuplicateKind, Record
from stories.store import Entry, Fingerprint

NEAR = 0.5
"""Jaccard similarity of five-word shingles from which two stories are one. A story with every twelfth word
changed is at 0.5; two stories by one author about one place stay below 0.05."""
DRAFT = 0.1
"""The same for two stories of one name: a tenth of the wording is more than a story told anew shares."""
DRAFT_INSIDE = 0.2
"""Or so much of the shorter one stands in the longer one: the draft was a sketch of it."""

_PERMUTATIONS = 128
# Two rows a band: at 0.5, a pair goes unseen once in a hundred million.
_BANDS = 64
_SEED = 17
_SHINGLE_WORDS = 5
_BATCH_WORDS = 2000
_WORD = re.compile(r"\w+")
_SAMPLED_ONE_IN = 16
# Fewer tell too little: a text of fewer than about 130 words is not looked for inside others.
_FEWEST_SAMPLED = 8
_ONE_SIZE = 1.5


@dataclass(frozen=True)
class LeftOut:
    """A story that is left out, the one that stays for it, and what the report says of the two."""

    entry: Entry
    stays: Entry
    duplicate: Duplicate


def fingerprint(record: Record) -> Fingerprint:
    """Return what a record's text is recognised by.

    Case, punctuation, white space and line breaks do not count. Of a chat the questions count too.
    """
    said = (message.content for message in record.messages) if record.messages else (record.text,)
    words = (found[0] for found in _WORD.finditer(" ".join(said).casefold()))
    digest = hashlib.sha256()
    sketch = RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
    sample: set[int] = set()
    last: list[str] = []
    # In batches, so that the shingles of a novel never exist at once.
    while batch := list(itertools.islice(words, _BATCH_WORDS)):
        digest.update((" " if last else "").encode() + " ".join(batch).encode())
        batch = last + batch
        shingles = _shingles(batch)
        sketch.update(shingles)  # a minimum does not depend on the order
        hashes = (zlib.crc32(shingle.encode()) for shingle in shingles)
        sample.update(number for number in hashes if number % _SAMPLED_ONE_IN == 0)
        last = batch[1 - _SHINGLE_WORDS :]
    return Fingerprint(digest=digest.digest(), sketch=sketch, sample=array("I", sorted(sample)))


def _shingles(words: list[str]) -> list[str]:
    runs = zip(*(words[start:] for start in range(_SHINGLE_WORDS)), strict=False)
    return list(set(map(" ".join, runs))) or [" ".join(words)]


def leave_out(entries: Iterable[Entry]) -> tuple[list[Entry], list[LeftOut]]:
    """Leave out every story that says the same as a newer one, or that is part of a larger one.

    A story is compared with those that stay, the newest first. So of a chain, where the second is near the
    first and the third near the second, what stays is never near anything else that stays.

    Returns:
        the stories that stay, and those that do not; both in reading order.
    """
    in_order = sorted(entries, key=lambda entry: entry.order)
    whole, twins = _without_twins(in_order)
    kept, parts = _without_parts(whole)
    owners = {part.entry: part for part in parts}
    pairs = parts + [_in_the_larger(twin, owners) for twin in twins]
    return (
        sorted(kept, key=lambda entry: entry.order),
        sorted(pairs, key=lambda pair: pair.entry.order),
    )


def _newness(entry: Entry) -> tuple[str, tuple[int, int], str]:
    """Sort by age: by day, then by what the name says, since files dropped together are all of one day."""
    name = PurePosixPath(entry.order[2]).stem
    return entry.modified_at[:10], draft_name(name).revision, entry.modified_at


def _without_twins(in_order: Sequence[Entry]) -> tuple[list[Entry], list[LeftOut]]:
    index = RMinHashLSH(threshold=NEAR, num_perm=_PERMUTATIONS, num_bands=_BANDS)
    drafts = _Drafts(in_order)
    exact: dict[bytes, Entry] = {}
    kept: list[Entry] = []
    pairs: list[LeftOut] = []
    for entry in sorted(in_order, key=_newness, reverse=True):
        twin = exact.get(entry.fingerprint.digest)
        if twin is not None:
            pairs.append(_exact(entry, twin))
            continue
        nearest, similarity = _nearest(entry, kept, index.query(entry.fingerprint.sketch))
        if nearest is not None:
            pairs.append(_near(entry, nearest, similarity))
            continue
        draft = drafts.find(entry)
        if draft is not None:
            pairs.append(draft)
            continue
        index.insert(len(kept), entry.fingerprint.sketch)
        drafts.add(entry)
        exact[entry.fingerprint.digest] = entry
        kept.append(entry)
    return kept, pairs


class _Drafts:
    """Finds a story of the same name that shares some of its wording, though not half of it."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        # Most names come once and need no memory; a file's own chapters are no drafts of each other.
        files = {(name, entry.order[2]) for entry in entries for name in _names(entry)}
        self._shared = {name for name, count in Counter(name for name, _ in files).items() if count > 1}
        self._owners: defaultdict[tuple[str, int], list[Entry]] = defaultdict(list)

    def add(self, entry: Entry) -> None:
        """Remember a story that stays."""
        for name in _names(entry) & self._shared:
            for number in entry.fingerprint.sample:
                self._owners[name, number].append(entry)

    def find(self, entry: Entry) -> LeftOut | None:
        """Return the pair with the later draft that shares the most with this one, where there is one."""
        shared: Counter[Entry] = Counter()
        names: dict[Entry, str] = {}
        for name in sorted(_names(entry) & self._shared):
            found = Counter(
                other for number in entry.fingerprint.sample for other in self._owners.get((name, number), ())
            )
            shared |= found
            names |= dict.fromkeys(found, name)
        best: LeftOut | None = None
        for other, count in shared.items():
            if other.order[2] == entry.order[2]:
                continue
            similarity = other.fingerprint.sketch.jaccard(entry.fingerprint.sketch)
            fewest = min(len(other.fingerprint.sample), len(entry.fingerprint.sample))
            inside = count / fewest if fewest >= _FEWEST_SAMPLED else 0.0
            is_draft = similarity >= DRAFT or inside >= DRAFT_INSIDE
            if is_draft and (best is None or similarity > best.duplicate.similarity):
                best = _draft(entry, other, similarity, names[other])
        return best


def _without_parts(entries: Sequence[Entry]) -> tuple[list[Entry], list[LeftOut]]:
    """Leave out stories that stand in a larger text, such as a chapter beside its whole book.

    The two are too different in size for their similarity to show it; the share of the smaller one's shingles
    that the larger one has does.
    """
    owners: dict[int, Entry] = {}
    kept: list[Entry] = []
    pairs: list[LeftOut] = []
    newest_first = sorted(entries, key=_newness, reverse=True)
    for entry in sorted(newest_first, key=_size_class, reverse=True):
        sample = entry.fingerprint.sample
        found = Counter(owners[number] for number in sample if number in owners)
        owner, shared = max(found.items(), key=lambda item: item[1], default=(None, 0))
        if owner is not None and len(sample) >= _FEWEST_SAMPLED and shared >= len(sample) * NEAR:
            pairs.append(_part(entry, owner, shared / len(sample)))
            continue
        for number in sample:
            owners.setdefault(number, entry)
        kept.append(entry)
    return kept, pairs


def _size_class(entry: Entry) -> int:
    """Return a number that texts of about one size share: of those the newer one is to stay."""
    return round(math.log(max(1, entry.words), _ONE_SIZE))


def _nearest(entry: Entry, kept: Sequence[Entry], candidates: Iterable[int]) -> tuple[Entry | None, float]:
    sketch = entry.fingerprint.sketch
    scored = [(kept[number].fingerprint.sketch.jaccard(sketch), -number) for number in candidates]
    similarity, number = max(scored, default=(0.0, 0))
    return (kept[-number], similarity) if similarity >= NEAR else (None, similarity)


def _names(entry: Entry) -> frozenset[str]:
    return story_names(entry.order[2], entry.title)


def _exact(entry: Entry, stays: Entry) -> LeftOut:
    return _pair(
        entry, stays, "exact", 1.0, f"The two are the same word for word. {_why_it_stays(stays, entry)}"
    )


def _near(entry: Entry, stays: Entry, similarity: float) -> LeftOut:
    names = sorted(_names(entry) & _names(stays))
    if names and entry.order[2] != stays.order[2]:
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
