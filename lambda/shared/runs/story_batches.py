"""The story files of a run, in batches: Begin lists them, Read reads each, Assemble reads the results."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, TypedDict, TypeVar

from pydantic import BaseModel, ConfigDict

MOST_FILES = 100
MOST_BYTES = 16 * 1024**2
"""Maximum size of a batch of several files. A larger file is a batch of its own."""
_LONGEST_LINE_BYTES = 128 * 1024  # a child of the Distributed Map takes 256 KiB of input
T = TypeVar("T")
R = TypeVar("R")


class ManifestEntry(TypedDict):
    """One line of the manifest: one version of one object."""

    key: str
    version_id: str
    size: int
    """Bytes."""
    etag: str
    modified_at: str


class StoryBatch(TypedDict):
    """One line of the list of batches, and so the item of one child of the Distributed Map."""

    files: list[ManifestEntry]


class BatchSummary(BaseModel):
    """The last line of a batch's results: how much work it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["tally"] = "tally"
    files: int
    from_cache: int
    """How many of the files were not read again, because they had not changed."""


def group_into_batches(items: Iterable[ManifestEntry]) -> Iterator[StoryBatch]:
    """Group files so that no batch has more than `MOST_FILES`, or `MOST_BYTES` in several files.

    Step Functions' own batching counts files only, so twenty novels would be the same as twenty haiku.
    """
    files: list[ManifestEntry] = []
    size = line = 0
    for item in items:
        length = len(json.dumps(item))
        full = len(files) >= MOST_FILES or size + item["size"] > MOST_BYTES
        if files and (full or line + length > _LONGEST_LINE_BYTES):
            yield StoryBatch(files=files)
            files, size, line = [], 0, 0
        files.append(item)
        size += item["size"]
        line += length
    if files:
        yield StoryBatch(files=files)


def batch_digest(items: Iterable[ManifestEntry]) -> str:
    """Return a batch's digest (sha256 hex); a retry has the same one, so it overwrites the results."""
    return _digest([[item["key"], item["version_id"]] for item in items])


def file_digest(item: ManifestEntry) -> str:
    """Return a digest (sha256 hex) that is the same for the same content under the same name.

    The object's version does not matter. The name does, because a story without a title, and the work that it
    belongs to, are named by it. S3's ETag identifies the content; an upload in other parts has another ETag,
    and is only read once more.
    """
    return _digest([item["key"], item["etag"], item["size"]])


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def prefetch(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """Yield `work(item)` for each item, in order, prefetching at most `at_once` results."""
    with ThreadPoolExecutor(at_once) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
