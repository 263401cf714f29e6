"""Verify files by content: against the hub when they are copied, and against `staged.json` afterwards.

The hub identifies large files by SHA-256 and small ones by git's SHA-1. The list of staged files has the ETag
that each object had when its content was hashed. Overwriting an object changes its ETag, so listing the
folder shows which objects have to be read again.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from shared.aws import clients
from shared.models.staged import Staged
from stage_base_model.hub import HubFile, RetryPolicy


@dataclass(frozen=True)
class Content:
    """The size and hashes of a file's content."""

    size: int
    """Size in bytes."""
    sha256: str
    git_sha1: str | None = None
    """None if only the sha256 was computed."""

    def is_of(self, file: HubFile) -> bool:
        """Return whether this is the content of the hub's file."""
        if self.size != file.size:
            return False
        if file.sha256 is not None:
            return self.sha256 == file.sha256
        return file.git_sha1 is None or self.git_sha1 == file.git_sha1


class ContentHash:
    """An incremental hash of a file of known size."""

    def __init__(self, size: int) -> None:
        """Start hashing; git's hash includes the size."""
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Hash another chunk."""
        self._sha256.update(chunk)
        self._git.update(chunk)
        self._size += len(chunk)

    @property
    def content(self) -> Content:
        """The size and hashes of the chunks so far."""
        return Content(self._size, self._sha256.hexdigest(), self._git.hexdigest())


def hash_object(bucket: str, key: str, size: int, retries: RetryPolicy) -> tuple[Content, str]:
    """Read and hash an object; also returns the ETag of the object that was read.

    Raises:
        OutOfTime: the function's time is nearly over.
    """
    found = clients.s3().get_object(Bucket=bucket, Key=key)
    hashed = ContentHash(size)
    for chunk in found["Body"].iter_chunks(2**20):
        retries.check_time(key)
        hashed.add(chunk)
    return hashed.content, found["ETag"]


def object_size(bucket: str, key: str) -> int | None:
    """Return an object's size; None if it does not exist."""
    try:
        return clients.s3().head_object(Bucket=bucket, Key=key)["ContentLength"]
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            return None
        raise


def find_changed_files(
    staged: Staged, bucket: str, prefix: str, retries: RetryPolicy, files: dict[str, dict[str, Any]]
) -> set[str]:
    """Compare the objects of a staged model with its list of files.

    An object is hashed again if its ETag differs from the list's, or the list has no ETags yet.

    Args:
        staged: the list of files.
        bucket: the model's bucket.
        prefix: key prefix of the model's folder.
        retries: the policy that stops the hashing before the function times out.
        files: receives the files that are unchanged, with their ETags.

    Returns:
        The names of files that are missing or have other content.

    Raises:
        OutOfTime: the function's time is nearly over; the next call continues.
    """
    present = _objects(bucket, prefix)
    wrong: set[str] = set()
    for name, facts in staged.files.items():
        size, etag = present.get(name, (None, None))
        if size is None or size != facts.get("bytes", size):
            wrong.add(name)
        elif etag == facts.get("etag"):
            files[name] = facts
        else:
            found, hashed_etag = hash_object(bucket, prefix + name, size, retries)
            if found.sha256 == facts.get("sha256", found.sha256):
                files[name] = {**facts, "bytes": size, "sha256": found.sha256, "etag": hashed_etag}
            else:
                wrong.add(name)
    return wrong


def _objects(bucket: str, prefix: str) -> dict[str, tuple[int, str]]:
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {
        entry["Key"].removeprefix(prefix): (entry["Size"], entry["ETag"])
        for page in pages
        for entry in page.get("Contents", [])
    }
