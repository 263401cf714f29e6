"""What files gave when they were last read, so that a file that has not changed is not read again.

What is kept is a function of a file's name, its bytes and the code that read it, and of nothing else: each of
the three is part of its key. Which version of the file it was, and when that was written, is put in again.
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
"""What is used is written again after this: S3 deletes below `cache/` what is older than 30 days."""
_IN_MEMORY_BYTES = 8 * 1024**2
_LINE: TypeAdapter[Record | Reject] = TypeAdapter(Annotated[Record | Reject, Field(discriminator="kind")])


@dataclass(frozen=True)
class Known:
    """What a file gave when it was read before."""

    stories: Stories
    is_old: bool
    """Whether it is to be kept anew, so that it does not expire."""


def find_cached(item: ManifestEntry) -> Known | None:
    """Look up what a file gave; None where it is not known."""
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
    """Keep what a file gave."""
    stories.seek(0)
    clients.s3().put_object(
        Bucket=_bucket(), Key=_key(item), Body=stories, ContentType="application/x-ndjson"
    )


def new_stories() -> Stories:
    """Return an empty list; a long one is on disk."""
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
    """Name the code that reads files: a hash of the library, of the packages beside it and of Python.

    The same file read by the same code gives the same stories; after an update all files are read again.
    """
    folder = Path(library.__file__).parent
    digest = hashlib.sha256(sys.version.encode())
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    # Lambda has the packages in the same folder, with their own descriptions.
    packages = metadata.distributions(path=[str(folder.parent)])
    digest.update("\n".join(sorted(f"{package.name} {package.version}" for package in packages)).encode())
    return digest.hexdigest()[:16]


def _key(item: ManifestEntry) -> str:
    return s3_keys.cached_stories(file_digest(item), reader_version())


def _bucket() -> str:
    return environment.common().artifacts_bucket
