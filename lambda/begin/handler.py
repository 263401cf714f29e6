"""Begins a run: its record, and a frozen list of the story versions it will read."""

import json
import tempfile
from collections.abc import Iterator
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import aws, environment, layout, lock, runs, versions

log = Logger(service="begin")


class AnotherRunIsGoing(Exception):  # noqa: N818 - the name is what a person reads in the console
    """This execution was started by hand while another has the lock."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Write the manifest and say what is live.

    Args:
        event: `{"run_id", "reason", "execution_arn"}`.
        context: Lambda's.

    Returns:
        `{"files": n, "manifest": {"bucket", "key"}, "live": {"version", "adapter_uri"} or None}`

    Raises:
        AnotherRunIsGoing: where this execution does not have the lock and cannot get it.
    """
    run_id = event["run_id"]
    _hold_lock(run_id, event["execution_arn"])
    known = {"reason": event["reason"], "execution_arn": event["execution_arn"]}
    runs.enter(run_id, "Begin", "Listing the stories.", **known)
    common = environment.common()
    key = layout.manifest(run_id)
    files = _freeze(common.stories_bucket, common.artifacts_bucket, key)
    runs.enter(run_id, "Read", f"Reading {files} files.", files=files)
    log.info("The manifest is frozen", extra={"run_id": run_id, "files": files})
    return {"files": files, "manifest": {"bucket": common.artifacts_bucket, "key": key}, "live": _live()}


def latest_versions(bucket: str) -> Iterator[dict[str, Any]]:
    """List the newest version of every object that is not deleted; folder markers are left out."""
    pages = aws.s3().get_paginator("list_object_versions").paginate(Bucket=bucket)
    for page in pages:
        for version in page.get("Versions", []):
            if version["IsLatest"] and not version["Key"].endswith("/"):
                yield {
                    "key": version["Key"],
                    "version_id": version["VersionId"],
                    "size": version["Size"],
                    "etag": version["ETag"].strip('"'),
                }


def _freeze(stories: str, artifacts: str, key: str) -> int:
    # Through a file: a million stories are 150 MB of lines, and the function need not hold them.
    count = 0
    with tempfile.TemporaryFile() as lines:
        for version in latest_versions(stories):
            lines.write(json.dumps(version, ensure_ascii=False).encode() + b"\n")
            count += 1
        lines.seek(0)
        aws.s3().upload_fileobj(lines, artifacts, key, ExtraArgs={"ContentType": "application/x-ndjson"})
    return count


def _hold_lock(run_id: str, execution_arn: str) -> None:
    if lock.acquire(run_id, execution_arn):
        return
    held = lock.holder()
    if held is not None and held.run_id != run_id:
        raise AnotherRunIsGoing(
            f"Run {held.run_id} has the lock. Wait until it ends; a run that stories start does so by itself."
        )


def _live() -> dict[str, str] | None:
    """What the evaluation compares with: the live adapter, where it belongs to the same base model."""
    pointer = versions.live()
    model = versions.get(pointer.version) if pointer else None
    base = environment.common().base_model
    if model is None or (model.base_model, model.base_revision) != (base.id, base.revision):
        return None
    return {"version": model.version, "adapter_uri": model.adapter_uri}
