"""Pack a hosting bundle as one .tar.gz, the form of a model that SageMaker's transform jobs accept.

The archive is created while it is uploaded, so neither memory nor disk ever contains more than a few parts of
it. Compression does not make weights smaller, so they are stored uncompressed.
"""

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig

from contracts import environment, s3_keys
from shared import clock
from shared.aws import clients

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectTypeDef

_CHUNK = 2**20
_AS_GZIP = 31
"""zlib's window bits for a gzip header."""
_FRESH = timedelta(days=29)
"""The bucket deletes an archive after 30 days, so an older one could be deleted before a job reads it."""
# boto3 keeps ten parts of a stream in memory, 160 MB. 10,000 parts, S3's limit, are 160 GB.
_IN_PARTS = TransferConfig(multipart_threshold=16 * 2**20, multipart_chunksize=16 * 2**20, max_concurrency=4)


class NoBundleError(Exception):
    """The version has no hosting bundle to pack."""


def ensure(bundle_uri: str) -> str:
    """Pack a hosting bundle, unless the same files have been packed recently.

    Args:
        bundle_uri: S3 URI of the bundle, with a slash at its end.

    Returns:
        The archive's S3 URI.

    Raises:
        NoBundleError: the bundle has no files.
    """
    bucket, files = environment.common().artifacts_bucket, _files(bundle_uri)
    key = s3_keys.transform_model(s3_keys.bundled_for(bundle_uri), _digest(files))
    listed = clients.s3().list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
    fresh = any(clock.now() - entry["LastModified"] < _FRESH for entry in listed)
    if not fresh:
        body: Any = _Stream(_packed(bundle_uri, files))
        clients.s3().upload_fileobj(body, bucket, key, Config=_IN_PARTS)
    return s3_keys.uri(bucket, key)


def _files(bundle_uri: str) -> "list[ObjectTypeDef]":
    """List the bundle's files, in the order of their names.

    Raises:
        NoBundleError: the bundle has no files.
    """
    bucket, prefix = s3_keys.split(bundle_uri)
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    files = [entry for page in pages for entry in page.get("Contents", []) if not entry["Key"].endswith("/")]
    if not files:
        raise NoBundleError(
            f"{bundle_uri} is empty. Activate the version again, which builds its bundle again."
        )
    return sorted(files, key=lambda entry: entry["Key"])


def _digest(files: "list[ObjectTypeDef]") -> str:
    """Return a digest of the files: a bundle that was built again for a version has other ETags."""
    facts = "\n".join(f"{entry['Key']} {entry['Size']} {entry['ETag']}" for entry in files)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _packed(bundle_uri: str, files: "list[ObjectTypeDef]") -> Iterator[bytes]:
    """Yield the bytes of the archive."""
    gzip = zlib.compressobj(level=0, wbits=_AS_GZIP)
    for chunk in _tar(bundle_uri, files):
        yield gzip.compress(chunk)
    yield gzip.flush()


def _tar(bundle_uri: str, files: "list[ObjectTypeDef]") -> Iterator[bytes]:
    bucket, prefix = s3_keys.split(bundle_uri)
    for entry in files:
        header = tarfile.TarInfo(entry["Key"].removeprefix(prefix))
        header.size = entry["Size"]
        yield header.tobuf(tarfile.GNU_FORMAT)
        # Exactly the listed object, so that its length is that of the header.
        body = clients.s3().get_object(Bucket=bucket, Key=entry["Key"], IfMatch=entry["ETag"])["Body"]
        yield from body.iter_chunks(_CHUNK)
        yield bytes(-entry["Size"] % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


class _Stream:
    """A file-like object over chunks, for boto3."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._kept = bytearray()

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, fewer at the end, or all remaining ones if it is negative."""
        while size < 0 or len(self._kept) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._kept += chunk
        end = len(self._kept) if size < 0 else size
        data = bytes(self._kept[:end])
        del self._kept[:end]
        return data
