"""What the last run that trained was made of."""

from typing import NamedTuple

from contracts import table_keys
from shared.table import table

_KEY = table_keys.LAST_TRAINING


class Trained(NamedTuple):
    """A run that trained, and the digest of what it trained on."""

    run_id: str
    dataset_digest: str


def last() -> Trained | None:
    """Read the last run that trained; None before the first."""
    item = table.get(*_KEY)
    return Trained(str(item["run_id"]), str(item["dataset_digest"])) if item else None


def remember(run_id: str, dataset_digest: str) -> None:
    """Note that a run has trained a model and judged it."""
    table.update(*_KEY, {"run_id": run_id, "dataset_digest": dataset_digest})
