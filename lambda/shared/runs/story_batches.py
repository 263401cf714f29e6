"""What Begin hands to Read, and Read to Assemble: the story files of a run, in batches."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Literal, TypedDict

from pydantic import BaseModel, ConfigDict

MOST_FILES = 100
MOST_BYTES = 16 * 1024**2
"""Of files in one batch. One file may be larger; it is a batch of its own."""
_LONGEST_LINE_BYTES = 128 * 1024  # a child of the Distributed Map takes 256 KiB of input


class Item(TypedDict):
    """One line of the manifest: one version of one object."""

    key: str
    version_id: str
    size: int
    """Bytes."""
    etag: str
    modified_at: str


class Batch(TypedDict):
    """One line of the list of batches, and so the item of one child of the Distributed Map."""

    files: list[Item]


class Tally(BaseModel):
    """Last line of what a batch gave: how much work it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["tally"] = "tally"
    files: int
    from_cache: int
    """Of these files, how many were not read again, because they had not changed."""


def grouped(items: Iterable[Item]) -> Iterator[Batch]:
    """Group files so that no batch has more than `MOST_FILES`, or `MOST_BYTES` in several files.

    Step Functions' own batches count files only: twenty novels and twenty haiku would be the same to it.
    """
    files: list[Item] = []
    size = line = 0
    for item in items:
        length = len(json.dumps(item))
        full = len(files) >= MOST_FILES or size + item["size"] > MOST_BYTES
        if files and (full or line + length > _LONGEST_LINE_BYTES):
            yield Batch(files=files)
            files, size, line = [], 0, 0
        files.append(item)
        size += item["size"]
        line += length
    if files:
        yield Batch(files=files)


def batch_digest(items: Iterable[Item]) -> str:
    """Return the same digest (sha256 hex) for the same batch: a retry writes over its first attempt."""
    return _digest([[item["key"], item["version_id"]] for item in items])


def file_digest(item: Item) -> str:
    """Return the same digest (sha256 hex) for the same bytes under the same name, whatever their version.

    The name counts because a story without a title, and the work it belongs to, are named by it. S3's ETag
    stands for the bytes; an upload in other parts has another one, and is only read once more.
    """
    return _digest([item["key"], item["etag"], item["size"]])


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
