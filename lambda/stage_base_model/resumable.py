"""What the next call of the function continues from: `staging.json`, and an S3 multipart upload."""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import BaseModel

from contracts import environment, s3_keys
from shared.aws import clients

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 32 * 2**20
"""Size of every part but the last; S3 takes 10,000 parts, which is 320 GB."""
_AT_ONCE = 3
"""Parts that are uploaded while the next is received; each stays in memory until then."""


class PartialUpload(BaseModel):
    """The S3 multipart upload of a file that one call could not finish."""

    name: str
    upload_id: str
    etag: str | None = None
    """ETag of the hub's file that the parts are from."""
    kept: int = 0
    """How many of its bytes are included in `received`."""


class StagingProgress(BaseModel):
    """The progress of staging."""

    verified: dict[str, str] = {}
    """sha256 of the files that were compared with the hub's hash."""
    etags: dict[str, str] = {}
    """S3's ETags of the same files when they were compared."""
    partial: PartialUpload | None = None
    received: int = 0
    """Bytes of files in parts, over all calls."""
    restarted: list[str] = []
    """Files that were copied again from the start, because their content was wrong."""
    calls_without_bytes: int = 0
    """Number of calls in a row that received nothing."""


def read_progress() -> StagingProgress:
    """Read the progress, which is empty before the first call."""
    try:
        body = clients.s3().get_object(Bucket=_bucket(), Key=_key())["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            return StagingProgress()
        raise
    return StagingProgress.model_validate_json(body)


def write_progress(progress: StagingProgress) -> None:
    """Write the progress."""
    body = progress.model_dump_json(indent=2).encode()
    clients.s3().put_object(Bucket=_bucket(), Key=_key(), Body=body, ContentType="application/json")


def delete_progress() -> None:
    """Delete the progress: the model is staged."""
    clients.s3().delete_object(Bucket=_bucket(), Key=_key())


def _bucket() -> str:
    return environment.common().artifacts_bucket


def _key() -> str:
    base = environment.common().base_model
    return s3_keys.staging_progress(base.slug, base.revision)


class ResumableUpload:
    """One object that is uploaded in parts."""

    def __init__(self, bucket: str, key: str, upload_id: str | None = None) -> None:
        """Continue an upload, or begin one if there is none, or S3 no longer has it."""
        self._bucket, self._key = bucket, key
        found = self._list_parts(upload_id) if upload_id else None
        self.resumed = bool(found)
        self._parts = found or []
        if upload_id is None or found is None:
            upload_id = clients.s3().create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        self.upload_id = upload_id

    @property
    def position(self) -> int:
        """Number of bytes in complete parts."""
        return len(self._parts) * PART_BYTES

    def add(self, chunks: Iterator[bytes]) -> str:
        """Upload the rest of the object.

        If the chunks end with an exception, the complete parts are kept.

        Returns:
            The sha256 of these bytes, as hex.
        """
        digest, kept = hashlib.sha256(), bytearray()
        waiting: deque[Future[CompletedPartTypeDef]] = deque()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for chunk in chunks:
                    digest.update(chunk)
                    kept += chunk
                    while len(kept) >= PART_BYTES:
                        self._send(pool, waiting, bytes(kept[:PART_BYTES]))
                        del kept[:PART_BYTES]
                if kept:
                    self._send(pool, waiting, bytes(kept))
            finally:
                self._parts += [part.result() for part in waiting]
        return digest.hexdigest()

    def complete(self) -> str:
        """Complete the object; returns its ETag."""
        made = clients.s3().complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self.upload_id,
            MultipartUpload={"Parts": self._parts},
        )
        return made["ETag"]

    def abort(self) -> None:
        """Abort the upload, if S3 still has it."""
        try:
            clients.s3().abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self.upload_id)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchUpload":
                raise

    def _send(
        self, pool: ThreadPoolExecutor, waiting: "deque[Future[CompletedPartTypeDef]]", body: bytes
    ) -> None:
        if len(waiting) == _AT_ONCE:
            self._parts.append(waiting.popleft().result())
        number = len(self._parts) + len(waiting) + 1
        waiting.append(pool.submit(self._upload, number, body))

    def _upload(self, number: int, body: bytes) -> "CompletedPartTypeDef":
        sent = clients.s3().upload_part(
            Bucket=self._bucket, Key=self._key, UploadId=self.upload_id, PartNumber=number, Body=body
        )
        return {"PartNumber": number, "ETag": sent["ETag"]}

    def _list_parts(self, upload_id: str) -> "list[CompletedPartTypeDef] | None":
        """List the complete parts from the first on; None if S3 no longer has the upload."""
        pages = clients.s3().get_paginator("list_parts")
        try:
            listed = [
                part
                for page in pages.paginate(Bucket=self._bucket, Key=self._key, UploadId=upload_id)
                for part in page.get("Parts", [])
            ]
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchUpload"}:
                return None
            raise
        found: list[CompletedPartTypeDef] = []
        for number, part in enumerate(sorted(listed, key=lambda part: part["PartNumber"]), start=1):
            if part["PartNumber"] != number or part["Size"] != PART_BYTES:
                break
            found.append({"PartNumber": number, "ETag": part["ETag"]})
        return found
