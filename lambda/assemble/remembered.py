"""The ledger of the split between runs: the last one is read, and the run keeps the one it was made with."""

from pydantic import ValidationError

from contracts import s3_keys
from shared.aws import clients
from stories.dataset.split_ledger import SplitLedger

_GONE = {"NoSuchKey", "404"}


class LedgerUnreadableError(Exception):
    """The ledger of the runs before is not one that this version can read."""


def ledger_for(bucket: str, run_id: str) -> SplitLedger:
    """Return the ledger that this run starts from, and keep it with the run.

    A repeated call gets the same one, also after `remember`: so a retried function makes the same dataset.

    Raises:
        LedgerUnreadableError: where it was changed by hand, or written by a newer version.
    """
    kept = _read(bucket, s3_keys.ledger_used(run_id))
    if kept is not None:
        return kept
    ledger = _read(bucket, s3_keys.LEDGER) or SplitLedger()
    _write(bucket, s3_keys.ledger_used(run_id), ledger.to_json().encode())
    return ledger


def remember(bucket: str, ledger: bytes) -> None:
    """Write the ledger that the next run starts from."""
    _write(bucket, s3_keys.LEDGER, ledger)


def _read(bucket: str, key: str) -> SplitLedger | None:
    try:
        body = clients.s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except clients.s3().exceptions.ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return None
        raise
    try:
        return SplitLedger.model_validate_json(body)
    except ValidationError as error:
        raise LedgerUnreadableError(
            f"s3://{bucket}/{key}, which remembers what stories are held out for the test, cannot be read. "
            "Put an older copy of it back (every run keeps its own as ledger.json), or delete it: then the "
            "stories are divided afresh, and the next test is no fair one for a model trained before."
        ) from error


def _write(bucket: str, key: str, body: bytes) -> None:
    clients.s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
