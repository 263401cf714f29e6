"""The buckets and the table that a deletion keeps, unless `--stories` is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import ClientError

from cli.aws.target import AwsTarget
from cli.removal import regional_buckets
from contracts.resource_names import TAG, AppNames

GB_MONTH_USD = 0.023
"""S3's price of a GB and month in us-east-1 (September 2026)."""


@dataclass(frozen=True)
class KeptData:
    """Buckets and tables that a deletion keeps."""

    buckets: tuple[str, ...]
    tables: tuple[str, ...]
    gigabytes: float

    @property
    def usd_a_month(self) -> float:
        """Return what S3 charges for them in a month."""
        return self.gigabytes * GB_MONTH_USD


def find_kept_data(target: AwsTarget, names: AppNames) -> KeptData:
    """Find the app's buckets and tables of this region, by name and by the app's tag."""
    prefix = f"{names.storage_stack.lower()}-"
    buckets = [
        bucket
        for bucket in regional_buckets.buckets_named(target, prefix)
        if _bucket_has_tag(target, names, bucket)
    ]
    tables = [
        name
        for page in target.client("dynamodb").get_paginator("list_tables").paginate()
        for name in page["TableNames"]
        if name.startswith(f"{names.storage_stack}-") and _table_has_tag(target, names, name)
    ]
    size = sum(
        version["Size"]
        for bucket in buckets
        for version in regional_buckets.object_versions(target, bucket, "Versions")
    )
    return KeptData(tuple(buckets), tuple(tables), size / 1e9)


def delete_kept_data(target: AwsTarget, kept: KeptData, progress: Callable[[str], None]) -> None:
    """Delete the buckets with every version of every object, and the tables; this cannot be undone.

    Raises:
        CommandError: a bucket is not in this region.
    """
    client = target.client("s3")
    for bucket in kept.buckets:
        progress(f"emptying {bucket}")
        regional_buckets.empty_bucket(target, bucket)
        client.delete_bucket(Bucket=bucket)
    for table in kept.tables:
        progress(f"deleting table {table}")
        target.client("dynamodb").delete_table(TableName=table)
        target.client("dynamodb").get_waiter("table_not_exists").wait(TableName=table)


def _bucket_has_tag(target: AwsTarget, names: AppNames, bucket: str) -> bool:
    try:
        tags = target.client("s3").get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchTagSet", "NoSuchBucket"):
            return False
        raise
    return {"Key": TAG, "Value": names.name} in tags


def _table_has_tag(target: AwsTarget, names: AppNames, table: str) -> bool:
    client = target.client("dynamodb")
    arn = client.describe_table(TableName=table)["Table"]["TableArn"]
    return {"Key": TAG, "Value": names.name} in client.list_tags_of_resource(ResourceArn=arn)["Tags"]
