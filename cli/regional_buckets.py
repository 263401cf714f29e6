"""Buckets of one region: S3 lists those of all regions, and boto3 follows its redirects to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cli.aws_target import AwsTarget
from cli.errors import CommandError

_AT_ONCE = 1000
"""Objects that S3 deletes in one call."""


def named(target: AwsTarget, beginning: str) -> Iterator[str]:
    """List the buckets of the target's region whose names begin so.

    S3 gives the region of a bucket only if the request has a parameter.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html
    """
    pages = target.client("s3").get_paginator("list_buckets")
    for page in pages.paginate(Prefix=beginning, BucketRegion=target.region):
        for bucket in page.get("Buckets") or []:
            if bucket.get("BucketRegion") == target.region:
                yield bucket["Name"]


def empty(target: AwsTarget, bucket: str) -> None:
    """Delete every version of every object of a bucket. Nothing brings them back.

    Raises:
        CommandError: the bucket is in another region, or S3 does not name its region.
    """
    _require_region(target, bucket)
    client = target.client("s3")
    for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    entries = [
        {"Key": version["Key"], "VersionId": version["VersionId"]}
        for version in versions(target, bucket, "Versions", "DeleteMarkers")
    ]
    for start in range(0, len(entries), _AT_ONCE):
        batch = entries[start : start + _AT_ONCE]
        client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})


def versions(target: AwsTarget, bucket: str, *kinds: str) -> Iterator[dict[str, Any]]:
    """List what a bucket holds.

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
