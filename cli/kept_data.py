"""The stories, what was made of them, and the table: what a deletion keeps, unless it is told not to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from cli.app_resources import TAG, AppNames
from cli.aws_target import AwsTarget

GB_MONTH_USD = 0.023
"""S3's price of a GB and month in us-east-1 (September 2026)."""
_AT_ONCE = 1000
"""Objects that S3 deletes in one call."""


@dataclass(frozen=True)
class KeptData:
    """Buckets and tables that hold what a deletion keeps."""

    buckets: tuple[str, ...]
    tables: tuple[str, ...]
    gigabytes: float

    @property
    def usd_a_month(self) -> float:
        return self.gigabytes * GB_MONTH_USD


def find(target: AwsTarget, names: AppNames) -> KeptData:
    """Find the app's buckets and tables: by name and, so that nobody else's is among them, by tag."""
    prefix = f"{names.storage_stack.lower()}-"
    buckets = [
        bucket["Name"]
        for bucket in target.client("s3").list_buckets()["Buckets"]
        if bucket["Name"].startswith(prefix) and _bucket_is_ours(target, names, bucket["Name"])
    ]
    tables = [
        name
        for page in target.client("dynamodb").get_paginator("list_tables").paginate()
        for name in page["TableNames"]
        if name.startswith(f"{names.storage_stack}-") and _table_is_ours(target, names, name)
    ]
    size = sum(version["Size"] for bucket in buckets for version in _versions(target, bucket, "Versions"))
    return KeptData(tuple(buckets), tuple(tables), size / 1e9)


def delete(target: AwsTarget, kept: KeptData, progress: Callable[[str], None]) -> None:
    """Delete the buckets with every version of every object, and the tables. They cannot be restored."""
    client = target.client("s3")
    for bucket in kept.buckets:
        progress(f"emptying {bucket}")
        _empty(target, bucket)
        client.delete_bucket(Bucket=bucket)
    for table in kept.tables:
        progress(f"deleting table {table}")
        target.client("dynamodb").delete_table(TableName=table)
        target.client("dynamodb").get_waiter("table_not_exists").wait(TableName=table)


def _empty(target: AwsTarget, bucket: str) -> None:
    client = target.client("s3")
    for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    entries = [
        {"Key": version["Key"], "VersionId": version["VersionId"]}
        for version in _versions(target, bucket, "Versions", "DeleteMarkers")
    ]
    for start in range(0, len(entries), _AT_ONCE):
        batch = entries[start : start + _AT_ONCE]
        client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})


def _versions(target: AwsTarget, bucket: str, *kinds: str) -> Iterator[dict[str, Any]]:
    pages = target.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    for page in pages:
        for kind in kinds:
            yield from page.get(kind, [])


def _bucket_is_ours(target: AwsTarget, names: AppNames, bucket: str) -> bool:
    try:
        tags = target.client("s3").get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        # A bucket of another region redirects; one without tags is none of ours.
        if error.response["Error"]["Code"] in ("NoSuchTagSet", "PermanentRedirect", "301"):
            return False
        raise
    return {"Key": TAG, "Value": names.name} in tags


def _table_is_ours(target: AwsTarget, names: AppNames, table: str) -> bool:
    client = target.client("dynamodb")
    arn = client.describe_table(TableName=table)["Table"]["TableArn"]
    return {"Key": TAG, "Value": names.name} in client.list_tags_of_resource(ResourceArn=arn)["Tags"]
