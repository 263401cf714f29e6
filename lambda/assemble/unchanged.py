"""Detect a run that would repeat the last training, so that it is not paid for again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.runs import run_records
from stories.records import PARTS

_WITHOUT_EFFECT = {"usd_per_hour", "price_date"}
"""Hyperparameters that the job only uses in its report."""


def digest(
    folder: Path, base_model: str, training_code: str, hyperparameters: Mapping[str, Any], tune: bool
) -> str:
    """Return a digest of the dataset and of everything else that affects the training."""
    hashed = hashlib.sha256()
    for part in PARTS:
        with (folder / part / "examples.jsonl").open("rb") as file:
            hashed.update(hashlib.file_digest(file, "sha256").digest())
    effective = {name: value for name, value in hyperparameters.items() if name not in _WITHOUT_EFFECT}
    hashed.update(json.dumps([base_model, training_code, effective, tune], sort_keys=True).encode())
    return hashed.hexdigest()


def refusal(dataset_digest: str) -> str | None:
    """Return a message if nothing has changed since the last training, else None."""
    last = run_records.last_training()
    if last is None or last.dataset_digest != dataset_digest:
        return None
    return (
        f"Nothing has changed since run {last.run_id}, which trained on the same stories with the same "
        "settings. So nothing was trained and nothing was spent. Add or change a story. To train on the same "
        "stories again, use Train again anyway on this run's page, or storyloom start --again"
    )
