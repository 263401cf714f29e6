"""Cache what was read from each file, so that a file that has not changed is not read again.

The result depends only on the file's name, its content and the code that read it, and all three are part of
its key. The object's version and its time are not cached, and added again when the cache is read.
"""

import functools
import hashlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import IO, Annotated

from botocore.exceptions import ClientError
from pydantic import Field, TypeAdapter

import stories as library
from contracts import environment, s3_keys
from shared import clock
from shared.aws import clients
from shared.runs.story_batches import ManifestEntry, file_digest
from stories.records import Record, Reject

Stories = IO[bytes]
"""Records and rejects of one file, one a line, without the file's version and time."""

_RENEWED_AFTER = timedelta(days=15)
"""A used result is stored again after this, because S3 deletes objects below `cache/` after 30 days."""
_IN_MEMORY_BYTES = 8 * 1024**2
_LINE: TypeAdapter[Record | Reject] = TypeAdapter(Annotated[Record | Reject, Field(discriminator="kind")])


@dataclass(frozen=True)
class Known:
    """The cached result of a file."""

    stories: Stories
    is_old: bool
    """Whether it must be stored again, so that it does not expire."""


def find_cached(item: ManifestEntry) -> Known | None:
    """Read the cached result of a file; None if there is none."""
    try:
        found = clients.s3().get_object(Bucket=_bucket(), Key=_key(item))
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    stories = new_stories()
    for chunk in found["Body"].iter_chunks(1024**2):
        stories.write(chunk)
    return Known(stories, clock.now() - found["LastModified"] > _RENEWED_AFTER)


def store(item: ManifestEntry, stories: Stories) -> None:
    """Store the result of a file."""
    stories.seek(0)
    clients.s3().put_object(
        Bucket=_bucket(), Key=_key(item), Body=stories, ContentType="application/x-ndjson"
    )


def new_stories() -> Stories:
    """Return an empty list of results, which moves to disk when it is long."""
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)


def append(stories: Stories, found: Record | Reject) -> None:
    """Add a record or reject to a list."""
    stories.write(found.model_dump_json().encode() + b"\n")


def of_version(stories: Stories, item: ManifestEntry) -> Iterator[Record | Reject]:
    """Yield the records and rejects of a list as those of one version of their file."""
    stories.seek(0)
    version = {"source_version": item["version_id"]}
    for line in stories:
        found = _LINE.validate_json(line)
        more = {"modified_at": item["modified_at"]} if isinstance(found, Record) else {}
        yield found.model_copy(update=version | more)


@functools.cache
def reader_version() -> str:
    """Return a hash of the code that reads files: the library, its packages and Python.

    The same code reads the same stories from the same file; after an update all files are read again.
    """
    folder = Path(library.__file__).parent
    digest = hashlib.sha256(sys.version.encode())
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    # On Lambda the packages are in the same folder, with their metadata.
    packages = metadata.distributions(path=[str(folder.parent)])
    digest.update("\n".join(sorted(f"{package.name} {package.version}" for package in packages)).encode())
    return digest.hexdigest()[:16]


def _key(item: ManifestEntry) -> str:
    return s3_keys.cached_stories(file_digest(item), reader_version())


def _bucket() -> str:
    return environment.common().artifacts_bucket
