"""Brings files here a few at a time, while another is being read."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from botocore.exceptions import ClientError

from read_stories import cache
from shared import aws, environment
from shared.ahead import ahead
from shared.batches import Item
from stories import file_names
from stories.limits import too_large
from stories.models import Reject, Source

_IN_MEMORY_BYTES = 8 * 1024**2
# Most of a small file's time is the way to S3 and back. The reading itself is one file after another: the
# function has little more than one processor, and PDFium must not be used by two threads at once.
_AT_ONCE = 8
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}


@dataclass(frozen=True)
class Fetched:
    """A file that is here: either its bytes, or what it gave when it was read before."""

    item: Item
    content: IO[bytes] | None = None
    stories: cache.Stories | None = None
    keep: bool = True
    """Whether what it gives is to be kept, for the first time or anew."""
    from_cache: bool = False


def fetch_ahead(items: Iterable[Item]) -> Iterator[Fetched]:
    """Yield the files in their order, each as soon as it is here."""
    aws.s3()  # made here: two threads would make two at once, and boto3 is not made for that
    return ahead(_fetch, items, _AT_ONCE)


def _fetch(item: Item) -> Fetched:
    unsafe = file_names.unsafe_character(item["key"])
    if unsafe is not None:
        return _rejected(
            item,
            f"Its name has a character that cannot be shown safely ({unsafe}).",
            "Rename the file and drop it again.",
        )
    refused = too_large(Source(key=item["key"]), item["size"])
    if refused:
        return _rejected(item, refused.reason, refused.cure)
    known = cache.find(item)
    if known:
        return Fetched(item, stories=known.stories, keep=known.is_old, from_cache=True)
    try:
        return Fetched(item, content=_download(item))
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        return _rejected(
            item, "It was deleted while the run was starting.", "Drop it again if it should count."
        )


def _download(item: Item) -> IO[bytes]:
    """Get one version of one object as a file that can be sought in; small ones never touch the disk."""
    bucket = environment.common().stories_bucket
    found = aws.s3().get_object(Bucket=bucket, Key=item["key"], VersionId=item["version_id"])
    content = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - its reader closes it
    for chunk in found["Body"].iter_chunks(1024**2):
        content.write(chunk)
    content.seek(0)
    return content


def _rejected(item: Item, reason: str, cure: str) -> Fetched:
    stories = cache.new_stories()
    name = file_names.printable(item["key"])
    cache.write(stories, Reject(source_key=name, source_version="", reason=reason, cure=cure))
    return Fetched(item, stories=stories, keep=False)
