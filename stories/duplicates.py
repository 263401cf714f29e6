"""Finds stories that say the same as another: word for word, nearly, or as a part of it."""

import hashlib
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from rensa import RMinHash, RMinHashLSH

from stories.models import Duplicate, Record
from stories.store import Entry, Fingerprint

NEAR = 0.5
"""Jaccard similarity of five-word shingles from which two stories are one. A story with every twelfth word
changed is at 0.5; two stories by one author about one place stay below 0.05."""

_PERMUTATIONS = 128
# Two rows a band: at 0.5, a pair goes unseen once in a hundred million.
_BANDS = 64
_SEED = 17
_SHINGLE_WORDS = 5
_WORD = re.compile(r"\w+")
_SAMPLED_ONE_IN = 16
# Fewer tell too little: a text of fewer than about 130 words is not looked for inside others.
_FEWEST_SAMPLED = 8

_Pair = tuple[Entry, Duplicate]
"""A story that is left out, and why."""


def fingerprint(record: Record) -> Fingerprint:
    """Return what a record's text is recognised by.

    Case, punctuation, white space and line breaks do not count. Of a chat the questions count too.
    """
    said = (message.content for message in record.messages) if record.messages else (record.text,)
    words = _WORD.findall(" ".join(said).casefold())
    shingles = {
        " ".join(words[i : i + _SHINGLE_WORDS]) for i in range(max(1, len(words) - _SHINGLE_WORDS + 1))
    }
    sketch = RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
    sketch.update(sorted(shingles))
    hashes = (zlib.crc32(shingle.encode()) for shingle in shingles)
    return Fingerprint(
        digest=hashlib.sha256(" ".join(words).encode()).digest(),
        sketch=sketch,
        sample=array("I", sorted(number for number in hashes if number % _SAMPLED_ONE_IN == 0)),
    )


def leave_out(entries: Iterable[Entry]) -> tuple[list[Entry], list[Duplicate]]:
    """Leave out every story that says the same as a newer one, or that is part of a larger one.

    Returns:
        the stories that stay, and the pairs; both in reading order.
    """
    in_order = sorted(entries, key=lambda entry: entry.order)
    whole, twins = _without_twins(in_order)
    kept, parts = _without_parts(whole)
    pairs = sorted(twins + parts, key=lambda pair: pair[0].order)
    return sorted(kept, key=lambda entry: entry.order), [duplicate for _, duplicate in pairs]


def _without_twins(in_order: Sequence[Entry]) -> tuple[list[Entry], list[_Pair]]:
    newest_first = sorted(in_order, key=lambda entry: entry.modified_at, reverse=True)
    index = RMinHashLSH(threshold=NEAR, num_perm=_PERMUTATIONS, num_bands=_BANDS)
    exact: dict[bytes, Entry] = {}
    kept: list[Entry] = []
    pairs: list[_Pair] = []
    for entry in newest_first:
        twin = exact.get(entry.fingerprint.digest)
        if twin is not None:
            pairs.append(_pair(twin, entry, "exact", 1.0))
            continue
        nearest, similarity = _nearest(entry, kept, index.query(entry.fingerprint.sketch))
        if nearest is not None:
            pairs.append(_pair(nearest, entry, "near", similarity))
            continue
        index.insert(len(kept), entry.fingerprint.sketch)
        exact[entry.fingerprint.digest] = entry
        kept.append(entry)
    return kept, pairs


def _without_parts(entries: Sequence[Entry]) -> tuple[list[Entry], list[_Pair]]:
    """Leave out stories that stand in a larger text, such as a chapter beside its whole book.

    The two are too different in size for their similarity to show it; the share of the smaller one's shingles
    that the larger one has does.
    """
    owners: dict[int, Entry] = {}
    kept: list[Entry] = []
    pairs: list[_Pair] = []
    for entry in sorted(entries, key=lambda entry: (-entry.words, entry.order)):
        sample = entry.fingerprint.sample
        found = Counter(owners[number] for number in sample if number in owners)
        owner, shared = max(found.items(), key=lambda item: item[1], default=(None, 0))
        if owner is not None and len(sample) >= _FEWEST_SAMPLED and shared >= len(sample) * NEAR:
            pairs.append(_pair(owner, entry, "part", shared / len(sample)))
            continue
        for number in sample:
            owners.setdefault(number, entry)
        kept.append(entry)
    return kept, pairs


def _pair(kept: Entry, dropped: Entry, kind: Literal["exact", "near", "part"], similarity: float) -> _Pair:
    similarity = round(similarity, 3)
    return dropped, Duplicate(kept=kept.name, dropped=dropped.name, kind=kind, similarity=similarity)


def _nearest(entry: Entry, kept: Sequence[Entry], candidates: Iterable[int]) -> tuple[Entry | None, float]:
    sketch = entry.fingerprint.sketch
    scored = [(kept[number].fingerprint.sketch.jaccard(sketch), -number) for number in candidates]
    similarity, number = max(scored, default=(0.0, 0))
    return (kept[-number], similarity) if similarity >= NEAR else (None, similarity)
