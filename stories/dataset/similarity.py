"""Fingerprints of texts, and an index on disk of what texts have in common, to find duplicates."""

import hashlib
import itertools
import re
import sqlite3
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rensa import RMinHash

from stories.records import Record

_PERMUTATIONS = 128
_SAMPLED_ONE_IN = 16
_SEED = 17
_SHINGLE_WORDS = 5
_BATCH_WORDS = 2000
_WORD = re.compile(r"\w+")

_LARGEST = 2**63 - 1
# A number shared by more stories, such as one of a common form letter, is no sign that two of them are alike,
# and comparing all of them with each other would take quadratic time.
_MAX_MATCHES = 50


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of one text."""

    digest: bytes
    """sha256 of its words, without punctuation."""
    sketch: "array[int]"
    """MinHash of its five-word shingles: the minimum under each of 128 hash functions."""
    sample: "array[int]"
    """Hashes of one shingle in sixteen, ascending; shared shingles of two texts are sampled in both."""


def compute_fingerprint(record: Record) -> Fingerprint:
    """Compute the fingerprint of a record's text.

    Case, punctuation and white space are ignored. A chat's questions are included.
    """
    digest = hashlib.sha256()
    sketch = RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
    sample: set[int] = set()
    last: list[str] = []
    words = _words(record)
    # In batches, so that memory never holds all shingles of a novel.
    while batch := list(itertools.islice(words, _BATCH_WORDS)):
        digest.update((" " if last else "").encode() + " ".join(batch).encode())
        batch = last + batch
        shingles = _shingles(batch)
        sketch.update(shingles)  # a minimum does not depend on the order
        hashes = (zlib.crc32(shingle.encode()) for shingle in shingles)
        sample.update(number for number in hashes if number % _SAMPLED_ONE_IN == 0)
        last = batch[1 - _SHINGLE_WORDS :]
    return Fingerprint(digest.digest(), array("I", sketch.digest()), array("I", sorted(sample)))


def jaccard(one: "array[int]", other: "array[int]") -> float:
    """Estimate the Jaccard similarity of two texts' shingles from their sketches."""
    # Equal values are 0 in the XOR. On two long numbers this is six times as fast as a loop, and a folder of
    # near-copies needs hundreds of comparisons for each story.
    differing = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return array("I", differing.to_bytes(_PERMUTATIONS * one.itemsize, "little")).count(0) / _PERMUTATIONS


def _words(record: Record) -> Iterator[str]:
    said = (message.content for message in record.messages) if record.messages else (record.text,)
    return (found[0] for found in _WORD.finditer(" ".join(said).casefold()))


def _shingles(words: list[str]) -> list[str]:
    runs = zip(*(words[start:] for start in range(_SHINGLE_WORDS)), strict=False)
    return list(set(map(" ".join, runs))) or [" ".join(words)]


class InvertedIndex:
    """Finds stories with numbers in common: add all stories, build once, then activate stories one by one."""

    def __init__(self, database: sqlite3.Connection, name: str, *, exclusive: bool = False) -> None:
        """Create an empty index.

        Args:
            database: stores the index.
            name: prefix of the index's tables, unique in the database.
            exclusive: whether a number matches only the first story activated with it.
        """
        self._database = database
        self._added, self._shared, self._active = (f"{name}_{part}" for part in ("added", "shared", "active"))
        self._database.execute(f"CREATE TABLE {self._added} (number INTEGER, story INTEGER)")
        key = "number" if exclusive else "number, story"
        self._database.execute(
            f"CREATE TABLE {self._active} (number INTEGER, story INTEGER, PRIMARY KEY ({key})) WITHOUT ROWID"
        )

    def add(self, story: int, numbers: Iterable[int]) -> None:
        """Add the numbers of a story, without repeats and below 2^63."""
        self._database.executemany(
            f"INSERT INTO {self._added} VALUES (?, {int(story)})", ((number,) for number in numbers)
        )

    def build(self) -> None:
        """Keep the numbers that at least two stories share. Call it once, after the last `add`."""
        self._database.execute(f"CREATE INDEX {self._added}_numbers ON {self._added} (number, story)")
        self._database.execute(
            f"CREATE TABLE {self._shared} (story INTEGER, number INTEGER, PRIMARY KEY (story, number))"
            " WITHOUT ROWID"
        )
        self._database.execute(
            f"INSERT INTO {self._shared} SELECT story, number FROM {self._added} WHERE number IN"
            f" (SELECT number FROM {self._added} GROUP BY number HAVING count(*) > 1) ORDER BY 1, 2"
        )
        self._database.execute(f"DROP TABLE {self._added}")

    def matches(self, story: int, lowest: int = 0, highest: int = _LARGEST) -> Counter[int]:
        """Count the numbers in a range that a story shares with each active story."""
        found = self._database.execute(
            f"SELECT active.story, count(*) FROM {self._shared} AS shared JOIN {self._active} AS active"
            " ON active.number = shared.number"
            " WHERE shared.story = ? AND shared.number BETWEEN ? AND ? GROUP BY active.story",
            (story, lowest, highest),
        )
        return Counter(dict(found))

    def activate(self, story: int) -> None:
        """Let later calls of `matches` find a story; a number finds at most 50 stories."""
        self._database.execute(
            f"INSERT OR IGNORE INTO {self._active} SELECT number, story FROM {self._shared} AS shared"
            f" WHERE story = ? AND (SELECT count(*) FROM {self._active} AS active"
            " WHERE active.number = shared.number) < ?",
            (story, _MAX_MATCHES),
        )
