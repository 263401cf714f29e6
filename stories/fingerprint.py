"""Fingerprints of texts, to recognise a text that comes again, unchanged or changed."""

import hashlib
import itertools
import re
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from rensa import RMinHash

from stories.models import Record

_PERMUTATIONS = 128
_SAMPLED_ONE_IN = 16
_SEED = 17
_SHINGLE_WORDS = 5
_BATCH_WORDS = 2000
_WORD = re.compile(r"\w+")


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
