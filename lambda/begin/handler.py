"""Begin a run: create its record, and freeze the list of the story versions that it reads.

What earlier runs read of files that no longer exist, or have changed, is deleted from the cache here.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment, s3_keys
from shared import clock
from shared.aws import clients
from shared.models import versions
from shared.runs import lock, run_records
from shared.runs.story_batches import ManifestEntry, file_digest, group_into_batches

_MOST_KEYS_A_CALL = 1000
log = Logger(service="begin")


class CacheNotDeletedError(Exception):
    """S3 did not delete the cached text of a deleted story."""


class CachedFiles:
    """The cached results of files that earlier runs read; about a hundred bytes of memory a file."""

    def __init__(self, bucket: str, readers: dict[str, list[str]]) -> None:
        """Store the list of a bucket: for each file's prefix, the versions of the code that read it."""
        self._bucket = bucket
        self._readers = readers

    @classmethod
    def listed(cls, bucket: str) -> "CachedFiles":
        """List the cache of a bucket."""
        readers: dict[str, list[str]] = {}
        pages = (
            clients.s3()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=s3_keys.CACHED_STORIES)
        )
        for page in pages:
            for found in page.get("Contents", []):
                folder, _, name = found["Key"].rpartition("/")
                readers.setdefault(f"{folder}/", []).append(name)
        return cls(bucket, readers)

    def keep(self, item: ManifestEntry) -> None:
        """Keep the cached results of a file, because the file still exists."""
        self._readers.pop(s3_keys.cached_file(file_digest(item)), None)

    def delete_stale(self) -> int:
        """Delete the cached objects of files that no longer exist, and return their number.

        Raises:
            CacheNotDeletedError: names an object that was not deleted.
        """
        keys = [f"{folder}{name}" for folder, names in self._readers.items() for name in names]
        for start in range(0, len(keys), _MOST_KEYS_A_CALL):
            some = keys[start : start + _MOST_KEYS_A_CALL]
            answer = clients.s3().delete_objects(
                Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
            )
            for error in answer.get("Errors", []):
                raise CacheNotDeletedError(
                    f"{error.get('Key')} could not be deleted: {error.get('Message')}. It contains the text "
                    "of a deleted story. Start the run again, or delete the object by hand."
                )
        return len(keys)


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Write the manifest, delete the cached text of deleted stories, and return which version is live.

    Args:
        event: `{"run_id", "reason", "execution_arn", "input"}`; `input` is the execution's input.
        context: Lambda's.

    Returns:
        `{"files": n, "batches": {"bucket", "key"}, "live": {"version", "adapter_uri"} or None, "again":
        whether to train even if nothing has changed}`

    Raises:
        shared.runs.lock.AnotherRunInProgress: another run holds the lock.
    """
    run_id = event["run_id"]
    lock.ensure_held(run_id, event["execution_arn"])
    known = {
        "reason": event["reason"],
        "execution_arn": event["execution_arn"],
        "started_by": event.get("input", {}).get("by"),
    }
    run_records.enter(run_id, "Begin", "Listing the stories.", **known)
    common = environment.common()
    cached = CachedFiles.listed(common.artifacts_bucket)
    files = _freeze(common.stories_bucket, common.artifacts_bucket, run_id, cached)
    deleted = cached.delete_stale()
    run_records.enter(run_id, "Read", f"Reading {files} files.", files=files)
    log.info("The manifest is frozen", extra={"run_id": run_id, "files": files, "deleted": deleted})
    batches = {"bucket": common.artifacts_bucket, "key": s3_keys.batches(run_id)}
    again = bool(event.get("input", {}).get("again"))
    return {"files": files, "batches": batches, "live": _live(), "again": again}


def latest_versions(bucket: str) -> Iterator[ManifestEntry]:
    """List the newest version of every object that is not deleted; folder markers are left out."""
    pages = clients.s3().get_paginator("list_object_versions").paginate(Bucket=bucket)
    for page in pages:
        for version in page.get("Versions", []):
            if version["IsLatest"] and not version["Key"].endswith("/"):
                yield {
                    "key": version["Key"],
                    "version_id": version["VersionId"],
                    "size": version["Size"],
                    "etag": version["ETag"].strip('"'),
                    "modified_at": clock.text(version["LastModified"]),
                }


def _freeze(stories: str, artifacts: str, run_id: str, cached: CachedFiles) -> int:
    """Write the manifest and its batches; returns how many files there are."""
    # Through files, because the lines of a million stories are 200 MB.
    with ExitStack() as stack:
        manifest, batches = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        count = 0
        for batch in group_into_batches(latest_versions(stories)):
            batches.write(_line(batch))
            for item in batch["files"]:
                manifest.write(_line(item))
                cached.keep(item)
            count += len(batch["files"])
        for lines, key in ((manifest, s3_keys.manifest(run_id)), (batches, s3_keys.batches(run_id))):
            lines.seek(0)
            clients.s3().upload_fileobj(
                lines, artifacts, key, ExtraArgs={"ContentType": "application/x-ndjson"}
            )
    return count


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _live() -> dict[str, str] | None:
    """Return the live adapter for comparison in the evaluation; None if its base model is another one."""
    pointer = versions.live()
    model = versions.get(pointer.version) if pointer else None
    base = environment.common().base_model
    if model is None or (model.base_model, model.base_revision) != (base.id, base.revision):
        return None
    return {"version": model.version, "adapter_uri": model.adapter_uri}
