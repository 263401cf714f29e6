"""Download a few files in parallel while another is being read."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from botocore.exceptions import ClientError, HTTPClientError

from contracts import environment
from read_stories import cache
from shared.aws import clients
from shared.runs.story_batches import ManifestEntry, prefetch
from stories import file_rules
from stories.file_rules import too_large
from stories.records import Reject, Source

# Most of the time for a small file is the round trip to S3. Files are read one after another, because the
# function has little more than one CPU.
_AT_ONCE = 8
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}
# Errors of one file: an archived object, a disabled key, a policy for this object alone.
_REFUSED = {"AccessDenied", "403", "InvalidObjectState", "InvalidRequest", "InvalidArgument"}


@dataclass(frozen=True)
class Fetched:
    """A fetched file: either its content, or its cached result."""

    item: ManifestEntry
    content: IO[bytes] | None = None
    """A named file on disk."""
    stories: cache.Stories | None = None
    keep: bool = True
    """Whether its result must be stored, for the first time or again."""
    from_cache: bool = False


def prefetch_files(items: Iterable[ManifestEntry]) -> Iterator[Fetched]:
    """Yield the files in their order, each as soon as it is fetched."""
    clients.s3()  # created here, because boto3 cannot create clients in two threads at once
    return prefetch(_fetch, items, _AT_ONCE)


def prefetch_cached(items: Iterable[ManifestEntry]) -> Iterator[tuple[ManifestEntry, cache.Known | None]]:
    """Yield each file with its cached result, if there is one."""
    clients.s3()
    return prefetch(lambda item: (item, cache.find_cached(item)), items, _AT_ONCE)


def rejected(item: ManifestEntry, reason: str, cure: str, *, keep: bool = False) -> Fetched:
    """Return a file that is rejected as a whole.

    Args:
        item: the file.
        reason: the reason, for the report.
        cure: what to do, for the report.
        keep: whether to cache the rejection for later runs.
    """
    stories = cache.new_stories()
    name = file_rules.printable(item["key"])
    cache.append(stories, Reject(source_key=name, source_version="", reason=reason, cure=cure))
    return Fetched(item, stories=stories, keep=keep)


def _refused_unread(item: ManifestEntry) -> Fetched | None:
    """Return a file that is rejected for its name or size; None if it has to be read."""
    unsafe = file_rules.unsafe_character(item["key"])
    if unsafe is not None:
        return rejected(
            item,
            f"Its name has a character that cannot be shown safely ({unsafe}).",
            "Rename the file and drop it again.",
        )
    refused = too_large(Source(key=item["key"]), item["size"])
    return None if refused is None else rejected(item, refused.reason, refused.cure)


def _fetch(item: ManifestEntry) -> Fetched:
    refused = _refused_unread(item)
    if refused is not None:
        return refused
    known = cache.find_cached(item)
    if known:
        return Fetched(item, stories=known.stories, keep=known.is_old, from_cache=True)
    try:
        return Fetched(item, content=_download(item))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _GONE:
            return rejected(
                item, "It was deleted while the run was starting.", "Drop it again if it should count."
            )
        if code in _REFUSED or code.startswith("KMS."):
            return rejected(
                item,
                f"S3 refused to return it ({code}).",
                "Check that the pipeline may read it and that it is not archived, or drop it again.",
            )
        raise
    except HTTPClientError as error:
        # After botocore's own retries, so that the other files of the batch do not wait for this one.
        return rejected(
            item,
            f"Its download was interrupted ({type(error).__name__}).",
            "Start another run; if it happens again, drop the file again.",
        )


def _download(item: ManifestEntry) -> IO[bytes]:
    """Download one version of an object to a named file, which another process can open."""
    bucket = environment.common().stories_bucket
    found = clients.s3().get_object(Bucket=bucket, Key=item["key"], VersionId=item["version_id"])
    content = tempfile.NamedTemporaryFile()  # noqa: SIM115 - its reader closes it
    try:
        for chunk in found["Body"].iter_chunks(1024**2):
            content.write(chunk)
    except BaseException:
        content.close()
        raise
    content.flush()
    return content
