"""Reads one batch of story files: records and rejects go into one file of the run."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NotRequired, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from shared import aws, clock, environment, layout
from stories.models import Record, Reject, Source
from stories.reading import read_file

log = Logger(service="read_stories")

LARGEST_FILE_BYTES = 200 * 1024**2
"""What fits the function's temporary disk beside the records."""
_IN_MEMORY_BYTES = 8 * 1024**2
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}


class Item(TypedDict):
    """One line of the manifest: one version of one object."""

    key: str
    version_id: str
    size: int
    etag: NotRequired[str]


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Read a batch of the manifest.

    Args:
        event: `{"BatchInput": {"run_id"}, "Items": [manifest line, …]}`
        context: Lambda's.

    Returns:
        `{"records": n, "rejects": n}`; every file gave at least one of the two.
    """
    run_id = event["BatchInput"]["run_id"]
    items: list[Item] = event["Items"]
    counts = {"record": 0, "reject": 0}
    with tempfile.TemporaryFile() as lines:
        for item in items:
            for result in _read(item):
                counts[result.kind] += 1
                lines.write(result.model_dump_json().encode() + b"\n")
        lines.seek(0)
        key = layout.read_batch(run_id, batch_digest(items))
        bucket = environment.common().artifacts_bucket
        aws.s3().upload_fileobj(lines, bucket, key, ExtraArgs={"ContentType": "application/x-ndjson"})
    log.info("Read a batch", extra={"run_id": run_id, "files": len(items), **counts})
    return {"records": counts["record"], "rejects": counts["reject"]}


def batch_digest(items: list[Item]) -> str:
    """Return the same digest for the same batch, so that a retry writes over its first attempt."""
    named = [[item["key"], item["version_id"]] for item in items]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _read(item: Item) -> Iterator[Record | Reject]:
    if item["size"] > LARGEST_FILE_BYTES:
        limit = LARGEST_FILE_BYTES // 1024**2
        yield _reject(item, f"It is larger than {limit} MB.", "Split it into several files and drop those.")
        return
    try:
        with _downloaded(item) as (source, content):
            yield from read_file(source, content)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        yield _reject(item, "It was deleted while the run was starting.", "Drop it again if it should count.")


@contextmanager
def _downloaded(item: Item) -> Iterator[tuple[Source, IO[bytes]]]:
    """Hold one version of one object in a file that can be sought in; small ones never touch the disk."""
    bucket = environment.common().stories_bucket
    found = aws.s3().get_object(Bucket=bucket, Key=item["key"], VersionId=item["version_id"])
    source = Source(
        key=item["key"], version=item["version_id"], modified_at=clock.text(found["LastModified"])
    )
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as content:
        for chunk in found["Body"].iter_chunks(1024**2):
            content.write(chunk)
        content.seek(0)
        yield source, content


def _reject(item: Item, reason: str, cure: str) -> Reject:
    return Reject(source_key=item["key"], source_version=item["version_id"], reason=reason, cure=cure)
