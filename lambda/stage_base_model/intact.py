"""Check that a staged base model is unchanged: each object's content, not only its name and size.

The list of files (`staged.json`) has the ETag that each object had when its content was hashed. Overwriting
an object changes its ETag, so listing the folder shows which objects have to be read again.
"""

from typing import Any

from shared.aws import clients
from shared.models.staged import Staged
from stage_base_model.retrying import RetryPolicy
from stage_base_model.stored import hash_object


def check(
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
