"""One file that holds everything a stopped training needs to go on as if it had never stopped."""

import hashlib
import os
import pickle
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from training_code.data import TokenSequence
from training_code.hyperparameters import Hyperparameters
from training_code.metrics import Row

FILE_NAME = "checkpoint.pt"

Tensors = dict[str, torch.Tensor]


@dataclass
class Progress:
    """Where training is. Plain values and tensors only, so that it loads without running any code."""

    step: int = 0
    """Steps done, which is also the place in the planned order of batches."""
    seconds: float = 0.0
    tokens: int = 0
    """Taught tokens seen."""
    best_loss: float = float("inf")
    best_step: int = 0
    best_adapter: Tensors = field(default_factory=dict)
    first_loss: float | None = None
    """Validation loss before the first step, which is the base model's."""
    without_improvement: int = 0
    validate_every: int | None = None
    validation_batches: int | None = None
    """How many batches a measurement takes; set by the first one, so that all can be compared."""
    rows: list[Row] = field(default_factory=list)


def save(folder: Path, fingerprint: str, progress: Progress, adapter: Tensors, optimizer: Any) -> None:
    """Write the checkpoint beside the old one, then put it in its place: a reader never sees half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "fingerprint": fingerprint,
        "progress": asdict(progress),
        "adapter": adapter,
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    partial = folder / f".{FILE_NAME}.partial"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / FILE_NAME)


def load(folder: Path, fingerprint: str, optimizer: Any) -> tuple[Progress, Tensors] | None:
    """Restore optimiser and random state; return progress and adapter, or None with nothing to resume.

    A checkpoint of another dataset or other settings, or a damaged one, is named on the log and left alone.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        print(f"{path.name} is damaged: training starts from the beginning.", flush=True)
        return None
    if state["fingerprint"] != fingerprint:
        print(f"{path.name} is of other data or settings: training starts from the beginning.", flush=True)
        return None
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"])
    values = state["progress"]
    return Progress(**{**values, "rows": [Row(**row) for row in values["rows"]]}), state["adapter"]


def fingerprint(settings: Hyperparameters, rows: Iterable[TokenSequence], base_config: str) -> str:
    """A hash that is equal only for the same settings, tokens and base model (but for the time allowed)."""
    digest = hashlib.sha256()
    kept = {name: value for name, value in asdict(settings).items() if not name.endswith("_seconds")}
    digest.update(repr(sorted(kept.items())).encode())
    digest.update(base_config.encode())
    for row in rows:
        digest.update(repr((row.tokens, row.taught)).encode())
    return digest.hexdigest()
