"""Checkpoints: everything that an interrupted training needs to resume as if it had never stopped.

Two files are written alternately, so that the previous checkpoint is always there. A file is written under
another name and renamed when it is complete. The names are reused, so that what SageMaker copies to S3 does
not grow. The first line of a file has a digest of the rest, which reveals a truncated or mixed copy.
"""

import hashlib
import io
import json
import os
import pickle
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from storyloom_jobs.container import JobError
from storyloom_jobs.hyperparameters import Hyperparameters, Precision
from storyloom_jobs.tokenization import TokenSequence
from storyloom_jobs.training.metrics_log import MetricsRow
from storyloom_jobs.training.schedule import Pace

FILE_NAMES = ("checkpoint-a.pt", "checkpoint-b.pt")
_PARTIAL = ".checkpoint.partial"
_FORMAT = 2
_MAX_HEADER_BYTES = 1000

Tensors = dict[str, torch.Tensor]


@dataclass
class TrainingProgress:
    """State of a training. Plain values and tensors only, so that loading it runs no code."""

    step: int = 0
    """Steps done, which is also the position in the plan."""
    seconds: float = 0.0
    num_loss_tokens: int = 0
    """Loss tokens seen so far."""
    best_loss: float | None = None
    best_step: int = 0
    best_adapter: Tensors = field(default_factory=dict)
    first_loss: float | None = None
    """Validation loss before the first step, which is that of the base model."""
    without_improvement: int = 0
    validation_is_due: bool = True
    """Whether to validate before the next step; the first validation is before the first step."""
    validate_every: int | None = None
    validation_rows: int | None = None
    """Rows of a validation; set by the first one, so that all validations are comparable."""
    validation_seconds: float = 0.0
    """Duration of the last validation."""
    micro_batch_tokens: int = 0
    """Tokens of one forward and backward pass."""
    gradient_checkpointing: bool = False
    memory_ran_out: list[str] = field(default_factory=list)
    """What was changed each time memory ran out, as text."""
    pace: Pace = field(default_factory=Pace)
    """Pace so far. The learning rate depends on it, so a resumed training continues the same curve."""
    rows: list[MetricsRow] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """Everything to save of a training."""

    progress: TrainingProgress
    adapter: Tensors
    optimizer: dict[str, Any]
    """The optimiser's `state_dict`."""
    rng_states: list[dict[str, Any]]
    """State of each process's random generators."""


class CheckpointFiles:
    """The two checkpoint files, in a folder that SageMaker copies to S3."""

    def __init__(self, folder: Path, fingerprint: str = "", precision: str = "") -> None:
        """Set the folder; `fingerprint` identifies this training, `precision` is recorded."""
        self._folder = folder
        self._fingerprint = fingerprint
        self._precision = precision
        self._newest: Path | None = None

    def save(self, checkpoint: Checkpoint) -> bool:
        """Write a checkpoint in place of the older file; return False if the disk refuses.

        In that case a message is logged, and the earlier checkpoints are kept.
        """
        target = self._folder / next(name for name in FILE_NAMES if self._newest != self._folder / name)
        partial = self._folder / _PARTIAL
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                for part in self._encode(checkpoint):
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            print(
                f"The checkpoint of step {checkpoint.progress.step} was not written ({error.strerror}): "
                "training continues, but an interruption now would lose more steps.",
                flush=True,
            )
            return False
        self._newest = target
        print(f"checkpoint step={checkpoint.progress.step} file={target.name}", flush=True)
        return True

    def load(self) -> Checkpoint | None:
        """Load the newest intact checkpoint of this training; return None if there is none.

        Damaged checkpoints, and those of another training, are logged.
        """
        for _, path in self._by_age():
            header, content = _read(path)
            if header is None or hashlib.sha256(content).hexdigest() != header["sha256"]:
                print(f"{path.name} is damaged: looking for an earlier checkpoint.", flush=True)
            elif header["fingerprint"] != self._fingerprint:
                print(f"{path.name} was made with other data or settings and is not used.", flush=True)
            else:
                self._newest = path
                return _decode(content)
        return None

    def precision(self) -> Precision | None:
        """Return the precision setting of the newest checkpoint; None if there is no checkpoint."""
        headers = [_header(path) for _, path in self._by_age()]
        recorded = next((header["precision"] for header in headers if header), None)
        return None if recorded is None else "bf16" if recorded == "bfloat16" else "fp32"

    def _by_age(self) -> list[tuple[int, Path]]:
        """List the files by steps, most first; unreadable files before all others."""
        paths = [path for name in FILE_NAMES if (path := self._folder / name).is_file()]
        return sorted((-header["step"] if (header := _header(p)) else -(1 << 62), p) for p in paths)

    def _encode(self, checkpoint: Checkpoint) -> tuple[bytes, memoryview]:
        buffer = io.BytesIO()
        state = {
            "progress": asdict(checkpoint.progress),
            "adapter": checkpoint.adapter,
            "optimizer": checkpoint.optimizer,
            "rng_states": checkpoint.rng_states,
        }
        torch.save(state, buffer)
        content = buffer.getbuffer()
        header = {
            "format": _FORMAT,
            "step": checkpoint.progress.step,
            "precision": self._precision,
            "fingerprint": self._fingerprint,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        return json.dumps(header).encode() + b"\n", content


def _header(path: Path) -> dict[str, Any] | None:
    return _read(path, header_only=True)[0]


def _read(path: Path, *, header_only: bool = False) -> tuple[dict[str, Any] | None, bytes]:
    """Read the header line and the content; the header is None if it is not one of ours."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(_MAX_HEADER_BYTES))
            known = isinstance(header, dict) and header.get("format") == _FORMAT
            return (header if known else None), b"" if header_only else file.read()
    except (OSError, ValueError):
        return None, b""


def _decode(content: bytes) -> Checkpoint:
    """Decode a checkpoint; JobError means that another version of the libraries wrote it."""
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise JobError(
            "The checkpoint cannot be read by this version of PyTorch. "
            "Delete the run's checkpoints/ folder in the artifacts bucket and run again."
        ) from error
    values = state["progress"]
    values["rows"] = [MetricsRow(**row) for row in values["rows"]]
    values["pace"] = Pace(**values["pace"])
    return Checkpoint(TrainingProgress(**values), state["adapter"], state["optimizer"], state["rng_states"])


def fingerprint(settings: Hyperparameters, rows: Iterable[TokenSequence], base_config: str) -> str:
    """Hash the settings (without time limits), the tokens and the base model's config."""
    digest = hashlib.sha256()
    kept = {name: value for name, value in asdict(settings).items() if not name.endswith("_seconds")}
    digest.update(repr(sorted(kept.items())).encode())
    digest.update(base_config.encode())
    for row in rows:
        digest.update(repr((row.tokens, row.loss_mask)).encode())
    return digest.hexdigest()
