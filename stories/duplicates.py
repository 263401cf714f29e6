"""Finds stories that say the same as another: word for word, or nearly."""

import hashlib
import re
from collections.abc import Iterable, Sequence

from rensa import RMinHash, RMinHashLSH

from stories.models import Duplicate, Record
from stories.store import Entry

NEAR = 0.5
"""Jaccard similarity of five-word shingles from which two stories are one. A story with every twelfth word
changed is at 0.5; two stories by one author about one place stay below 0.05."""

_PERMUTATIONS = 128
# Two rows a band: at 0.5, a pair goes unseen once in a hundred million.
_BANDS = 64
_SEED = 17
_SHINGLE_WORDS = 5
_WORD = re.compile(r"\w+")


def fingerprint(record: Record) -> tuple[bytes, RMinHash]:
    """Return what a record's text is recognised by: a hash of its words alone, and its MinHash.

    Case, punctuation, white space and line breaks do not count. Of a chat the questions count too.
    """
    said = (message.content for message in record.messages) if record.messages else (record.text,)
    words = _WORD.findall(" ".join(said).casefold())
    shingles = {
        " ".join(words[i : i + _SHINGLE_WORDS]) for i in range(max(1, len(words) - _SHINGLE_WORDS + 1))
    }
    sketch = RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
    sketch.update(sorted(shingles))
    return hashlib.sha256(" ".join(words).encode()).digest(), sketch


def leave_out(entries: Iterable[Entry]) -> tuple[list[Entry], list[Duplicate]]:
    """Leave out every story that says the same as a newer one.

    Returns:
        the stories that stay, no two of which are near, and the pairs; both in reading order.
    """
    in_order = sorted(entries, key=lambda entry: entry.order)
    newest_first = sorted(in_order, key=lambda entry: entry.modified_at, reverse=True)
    index = RMinHashLSH(threshold=NEAR, num_perm=_PERMUTATIONS, num_bands=_BANDS)
    exact: dict[bytes, Entry] = {}
    kept: list[Entry] = []
    pairs: list[tuple[Entry, Duplicate]] = []
    for entry in newest_first:
        twin = exact.get(entry.digest)
        if twin is not None:
            pairs.append((entry, Duplicate(kept=twin.name, dropped=entry.name, kind="exact", similarity=1.0)))
            continue
        nearest, similarity = _nearest(entry, kept, index.query(entry.sketch))
        if nearest is not None:
            near = Duplicate(
                kept=nearest.name, dropped=entry.name, kind="near", similarity=round(similarity, 3)
            )
            pairs.append((entry, near))
            continue
        index.insert(len(kept), entry.sketch)
        exact[entry.digest] = entry
        kept.append(entry)
    pairs.sort(key=lambda pair: pair[0].order)
    return sorted(kept, key=lambda entry: entry.order), [duplicate for _, duplicate in pairs]


def _nearest(entry: Entry, kept: Sequence[Entry], candidates: Iterable[int]) -> tuple[Entry | None, float]:
    scored = [(kept[number].sketch.jaccard(entry.sketch), -number) for number in candidates]
    similarity, number = max(scored, default=(0.0, 0))
    return (kept[-number], similarity) if similarity >= NEAR else (None, similarity)
