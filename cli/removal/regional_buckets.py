"""The buckets of one region: S3 lists those of all regions, and boto3 follows redirects into them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cli.aws.target import AwsTarget
from cli.console import CommandError

_OBJECTS_A_CALL = 1000
"""The most objects that S3 deletes in one call."""


def buckets_named(target: AwsTarget, beginning: str) -> Iterator[str]:
    """List the buckets of the target's region whose names begin with `beginning`.

    S3 returns the region of a bucket only if the request has a parameter.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html
    """
    pages = target.client("s3").get_paginator("list_buckets")
    for page in pages.paginate(Prefix=beginning, BucketRegion=target.region):
        for bucket in page.get("Buckets") or []:
            if bucket.get("BucketRegion") == target.region:
                yield bucket["Name"]


def empty_bucket(target: AwsTarget, bucket: str) -> None:
    """Delete every version of every object of a bucket; this cannot be undone.

    Raises:
        CommandError: the bucket is in another region, or S3 does not name its region.
    """
    _require_region(target, bucket)
    client = target.client("s3")
    for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    entries = [
        {"Key": version["Key"], "VersionId": version["VersionId"]}
        for version in object_versions(target, bucket, "Versions", "DeleteMarkers")
    ]
    for start in range(0, len(entries), _OBJECTS_A_CALL):
        batch = entries[start : start + _OBJECTS_A_CALL]
        client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})


def object_versions(target: AwsTarget, bucket: str, *kinds: str) -> Iterator[dict[str, Any]]:
    """List the versions or delete markers of a bucket.

    Args:
        target: account and region.
        bucket: its name.
        kinds: `Versions` or `DeleteMarkers`.
    """
    pages = target.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    for page in pages:
        for kind in kinds:
            yield from page.get(kind, [])


def _require_region(target: AwsTarget, bucket: str) -> None:
    found = target.client("s3").head_bucket(Bucket=bucket).get("BucketRegion")
    if found != target.region:
        raise CommandError(
            f"{bucket} is in {found or 'a region that S3 does not name'}, not in {target.region}. "
            "Nothing in it was deleted.",
            f"Run the command for its own region: --region {found or 'REGION'}",
        )
