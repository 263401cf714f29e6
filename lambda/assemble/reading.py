"""What the batches of a run gave, streamed: memory holds one record, and disk a few batches."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Annotated

from pydantic import Field, TypeAdapter

from contracts import s3_keys
from shared.aws import clients
from shared.runs.story_batches import BatchSummary, prefetch
from stories.records import Record, Reject

_AT_ONCE = 4
_LINE: TypeAdapter[Record | Reject | BatchSummary] = TypeAdapter(
    Annotated[Record | Reject | BatchSummary, Field(discriminator="kind")]
)


@dataclass
class RunStories:
    """The records and rejects of a run, to be gone through once."""

    bucket: str
    run_id: str
    from_cache: int = 0
    """Files that were not read again, of those gone through so far."""

    def __iter__(self) -> Iterator[Record | Reject]:
        """Yield them one at a time."""
        clients.s3()  # made here: two threads would make two at once, and boto3 is not made for that
        for batch in prefetch(self._download, self._keys(), _AT_ONCE):
            with batch:
                for line in batch:
                    parsed = _LINE.validate_json(line)
                    if isinstance(parsed, BatchSummary):
                        self.from_cache += parsed.from_cache
                    else:
                        yield parsed

    def _keys(self) -> Iterator[str]:
        pages = clients.s3().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=s3_keys.read_prefix(self.run_id)):
            for found in page.get("Contents", []):
                yield found["Key"]

    def _download(self, key: str) -> IO[bytes]:
        lines = tempfile.TemporaryFile()  # noqa: SIM115 - closed by its reader
        clients.s3().download_fileobj(self.bucket, key, lines)
        lines.seek(0)
        return lines
