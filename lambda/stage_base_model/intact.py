"""Whether a staged base model is still what was staged: each object's content, not only its name and size.

The list of files (`staged.json`) has S3's ETag of each object at the time when its content was hashed.
Whatever writes the object again gives it another one, so that a list of the folder tells what has to be read.
"""

from typing import Any

from shared import aws
from shared.staged import Staged
from stage_base_model.retrying import RetryPolicy
from stage_base_model.stored import hash_object


def check(
    staged: Staged, bucket: str, prefix: str, retries: RetryPolicy, files: dict[str, dict[str, Any]]
) -> set[str]:
    """Compare the objects of a staged model with its list.

    An object with another ETag than the list's, or whose list is older than ETags, is hashed.

    Args:
        staged: the list.
        bucket: with the model.
        prefix: of the model's folder.
        retries: ends the hashing in time.
        files: receives the files that were found right, with their ETags.

    Returns:
        The names of those that are missing or have another content.

    Raises:
        OutOfTime: the rest is for the next call of the function.
    """
    there = _objects(bucket, prefix)
    wrong: set[str] = set()
    for name, facts in staged.files.items():
        size, etag = there.get(name, (None, None))
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
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {
        entry["Key"].removeprefix(prefix): (entry["Size"], entry["ETag"])
        for page in pages
        for entry in page.get("Contents", [])
    }
