"""Whether a run would train on what the last one trained on: then it is not paid for again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared import trained
from stories.records import PARTS

_SAYS_NOTHING = {"usd_per_hour", "price_date"}
"""Hyperparameters that the job only reports with."""


def digest(
    folder: Path, base_model: str, training_code: str, hyperparameters: Mapping[str, Any], tune: bool
) -> str:
    """Return the digest of a dataset and of everything that decides what a training makes of it."""
    hashed = hashlib.sha256()
    for part in PARTS:
        with (folder / part / "examples.jsonl").open("rb") as file:
            hashed.update(hashlib.file_digest(file, "sha256").digest())
    taught = {name: value for name, value in hyperparameters.items() if name not in _SAYS_NOTHING}
    hashed.update(json.dumps([base_model, training_code, taught, tune], sort_keys=True).encode())
    return hashed.hexdigest()


def refusal(dataset_digest: str) -> str | None:
    """Say that nothing has changed since the last run that trained; None if something has."""
    last = trained.last()
    if last is None or last.dataset_digest != dataset_digest:
        return None
    return (
        f"Nothing has changed since run {last.run_id}, which trained on the same stories with the same "
        "settings. So nothing was trained and nothing was spent. Add a story or change one; or, to train on "
        "them again all the same: Train again anyway, on this run's page, or storyloom start --again"
    )
