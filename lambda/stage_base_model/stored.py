"""Read the size and the hashes of objects in the bucket."""

from botocore.exceptions import ClientError

from shared.aws import clients
from stage_base_model.digests import Content, ContentHash
from stage_base_model.retrying import RetryPolicy


def hash_object(bucket: str, key: str, size: int, retries: RetryPolicy) -> tuple[Content, str]:
    """Read and hash an object; also returns the ETag of the object that was read.

    Raises:
        OutOfTime: the function's time is nearly over.
    """
    found = clients.s3().get_object(Bucket=bucket, Key=key)
    hashed = ContentHash(size)
    for chunk in found["Body"].iter_chunks(2**20):
        retries.check_time(key)
        hashed.add(chunk)
    return hashed.content, found["ETag"]


def size_of(bucket: str, key: str) -> int | None:
    """Return an object's size; None if it does not exist."""
    try:
        return clients.s3().head_object(Bucket=bucket, Key=key)["ContentLength"]
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            return None
        raise
