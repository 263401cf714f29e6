"""Objects of the artifacts bucket, listed by folder and deleted by the thousand."""

from typing import TYPE_CHECKING

from contracts import environment, s3_keys
from shared.aws import clients

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

_MOST_KEYS_A_CALL = 1000


class NotDeletedError(Exception):
    """S3 did not delete an object; the next run tries again."""


def folders(prefix: str) -> set[str]:
    """Return the names of the folders right below a prefix."""
    pages = (
        clients.s3().get_paginator("list_objects_v2").paginate(Bucket=_bucket(), Prefix=prefix, Delimiter="/")
    )
    return {
        found["Prefix"].removeprefix(prefix).rstrip("/")
        for page in pages
        for found in page.get("CommonPrefixes", [])
    }


def delete_below(prefix: str, *, tag_first: bool = False) -> int:
    """Delete every object below a prefix; returns how many there were.

    Raises:
        NotDeletedError: names one that is still there.
    """
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=_bucket(), Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    if tag_first:
        for key in keys:
            clients.s3().put_object_tagging(
                Bucket=_bucket(), Key=key, Tagging={"TagSet": [{"Key": s3_keys.RETIRED, "Value": "true"}]}
            )
    for start in range(0, len(keys), _MOST_KEYS_A_CALL):
        some: list[ObjectIdentifierTypeDef] = [
            {"Key": key} for key in keys[start : start + _MOST_KEYS_A_CALL]
        ]
        answer = clients.s3().delete_objects(Bucket=_bucket(), Delete={"Objects": some, "Quiet": True})
        for error in answer.get("Errors", []):
            raise NotDeletedError(f"{error.get('Key')} could not be deleted: {error.get('Message')}.")
    return len(keys)


def _bucket() -> str:
    return environment.common().artifacts_bucket
