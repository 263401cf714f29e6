"""How far staging is, beside the files: `staging.json`, which the next call of the function goes on from."""

from botocore.exceptions import ClientError
from pydantic import BaseModel

from contracts import environment, s3_keys
from shared.aws import clients


class PartialUpload(BaseModel):
    """A file that did not fit into one call, or broke off: an S3 multipart upload that goes on."""

    name: str
    upload_id: str
    etag: str | None = None
    """Of the hub's file that the parts are from."""
    kept: int = 0
    """How many of its bytes have been counted in `received`."""


class StagingProgress(BaseModel):
    """How far the staging is."""

    verified: dict[str, str] = {}
    """sha256 of the files that were compared with the hub's hash."""
    etags: dict[str, str] = {}
    """S3's ETags of the same files when they were compared."""
    partial: PartialUpload | None = None
    received: int = 0
    """Bytes of files in parts, over all calls."""
    restarted: list[str] = []
    """Files that were begun anew, because what had arrived of them was not right."""
    calls_without_bytes: int = 0
    """How many calls in a row have received nothing."""


def read() -> StagingProgress:
    """Read the progress, which is empty before the first call."""
    try:
        body = clients.s3().get_object(Bucket=_bucket(), Key=_key())["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            return StagingProgress()
        raise
    return StagingProgress.model_validate_json(body)


def write(progress: StagingProgress) -> None:
    """Write the progress."""
    body = progress.model_dump_json(indent=2).encode()
    clients.s3().put_object(Bucket=_bucket(), Key=_key(), Body=body, ContentType="application/json")


def delete() -> None:
    """Delete the progress: the model is staged."""
    clients.s3().delete_object(Bucket=_bucket(), Key=_key())


def _bucket() -> str:
    return environment.common().artifacts_bucket


def _key() -> str:
    base = environment.common().base_model
    return s3_keys.staging_progress(base.slug, base.revision)
