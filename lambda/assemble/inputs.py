"""What a dataset is made from: the stories that were read, and what earlier runs left for this one.

The stories are streamed: memory holds one record, and disk a few batches. Earlier runs left the ledger of the
split, which records which stories are held out, and the digest of the last training.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from contracts import s3_keys
from shared.aws import clients
from shared.runs import run_records
from shared.runs.story_batches import BatchSummary, prefetch
from stories.dataset.assembly import EXAMPLES_FILE
from stories.dataset.split_ledger import SplitLedger
from stories.records import PARTS, Record, Reject

_PARALLEL_DOWNLOADS = 4
_LINE: TypeAdapter[Record | Reject | BatchSummary] = TypeAdapter(
    Annotated[Record | Reject | BatchSummary, Field(discriminator="kind")]
)
_MISSING_CODES = {"NoSuchKey", "404"}
_WITHOUT_EFFECT = {"usd_per_hour", "price_date"}
"""Hyperparameters that the job only uses in its report."""


@dataclass
class RunStories:
    """The records and rejects of a run, which can be iterated once."""

    bucket: str
    run_id: str
    from_cache: int = 0
    """How many of the files so far were not read again."""

    def __iter__(self) -> Iterator[Record | Reject]:
        """Yield them one at a time."""
        clients.s3()  # created here, because boto3 cannot create clients in two threads at once
        for batch in prefetch(self._download, self._keys(), _PARALLEL_DOWNLOADS):
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


class LedgerUnreadableError(Exception):
    """This version of the app cannot read the ledger of the split."""


def load_ledger(bucket: str, run_id: str) -> SplitLedger:
    """Return the ledger that this run starts from, and store it with the run.

    A repeated call returns the same one, even after `save_ledger`, so that a retry builds the same dataset.

    Raises:
        LedgerUnreadableError: it was changed by hand, or written by a newer version.
    """
    used = _read(bucket, s3_keys.ledger_used(run_id))
    if used is not None:
        return used
    ledger = _read(bucket, s3_keys.LEDGER) or SplitLedger()
    _write(bucket, s3_keys.ledger_used(run_id), ledger.to_json().encode())
    return ledger


def save_ledger(bucket: str, ledger: bytes) -> None:
    """Write the ledger that the next run starts from."""
    _write(bucket, s3_keys.LEDGER, ledger)


def _read(bucket: str, key: str) -> SplitLedger | None:
    try:
        body = clients.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except clients.s3().exceptions.ClientError as error:
        if error.response["Error"]["Code"] in _MISSING_CODES:
            return None
        raise
    try:
        return SplitLedger.model_validate_json(body)
    except ValidationError as error:
        raise LedgerUnreadableError(
            f"s3://{bucket}/{key}, which records which stories are held out for the test, cannot be read. "
            "Restore an older copy (every run has its own as ledger.json), or delete it: then the stories "
            "are split again, and the next test is not fair to a model that was trained before."
        ) from error


def _write(bucket: str, key: str, body: bytes) -> None:
    clients.s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def training_digest(
    folder: Path, base_model: str, training_code: str, hyperparameters: Mapping[str, Any], tune: bool
) -> str:
    """Return a digest of the dataset and of everything else that affects the training."""
    hashed = hashlib.sha256()
    for part in PARTS:
        with (folder / part / EXAMPLES_FILE).open("rb") as file:
            hashed.update(hashlib.file_digest(file, "sha256").digest())
    effective = {name: value for name, value in hyperparameters.items() if name not in _WITHOUT_EFFECT}
    hashed.update(json.dumps([base_model, training_code, effective, tune], sort_keys=True).encode())
    return hashed.hexdigest()


def unchanged_message(dataset_digest: str) -> str | None:
    """Return a message if nothing has changed since the last training, else None."""
    last = run_records.last_training()
    if last is None or last.dataset_digest != dataset_digest:
        return None
    return (
        f"Nothing has changed since run {last.run_id}, which trained on the same stories with the same "
        "settings. So nothing was trained and nothing was spent. Add or change a story. To train on the same "
        "stories again, use Train again anyway on this run's page, or storyloom start --again"
    )
