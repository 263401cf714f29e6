"""All that a stopped training needs to go on as if it had never stopped, in files that are whole or ignored.

There are two files, written in turns, so that the one before the newest is always there. A file is written
under another name and renamed when it is complete; names are used again, so that what SageMaker copies to S3
does not grow. Its first line has a digest of the rest: a copy that is cut or mixed is known for what it is.
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

from training_code.container import JobError
from training_code.data import TokenSequence
from training_code.hyperparameters import Hyperparameters, Precision
from training_code.metrics import Row
from training_code.schedule import Pace

FILE_NAMES = ("checkpoint-a.pt", "checkpoint-b.pt")
_PARTIAL = ".checkpoint.partial"
_FORMAT = 1
_LONGEST_HEADER = 1000

Tensors = dict[str, torch.Tensor]


@dataclass
class Progress:
    """Where training is. Plain values and tensors only, so that it loads without running any code."""

    step: int = 0
    """Steps done, which is also the place in the planned order of batches."""
    seconds: float = 0.0
    tokens: int = 0
    """Taught tokens seen."""
    best_loss: float | None = None
    best_step: int = 0
    best_adapter: Tensors = field(default_factory=dict)
    first_loss: float | None = None
    """Validation loss before the first step, which is the base model's."""
    without_improvement: int = 0
    validation_is_due: bool = True
    """Whether a measurement comes before the next step; one comes before the first."""
    validate_every: int | None = None
    validation_rows: int | None = None
    """How many rows a measurement takes; set by the first one, so that all can be compared."""
    validation_seconds: float = 0.0
    """How long the last measurement took."""
    micro_batch_tokens: int = 0
    """How many tokens go through the model at once."""
    gradient_checkpointing: bool = False
    memory_ran_out: list[str] = field(default_factory=list)
    """What was done each time it did, in words."""
    pace: Pace = field(default_factory=Pace)
    """The learning rates follow from it: with it the same curve goes on."""
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """One moment of a training."""

    progress: Progress
    adapter: Tensors
    optimizer: dict[str, Any]
    """Its `state_dict`."""
    random: list[dict[str, Any]]
    """The state of the random generators of each process."""


class Checkpoints:
    """The two files in a folder that SageMaker keeps in step with S3."""

    def __init__(self, folder: Path, fingerprint: str = "", precision: str = "") -> None:
        """`fingerprint` tells the checkpoints of this training from others; `precision` is noted in them."""
        self._folder = folder
        self._fingerprint = fingerprint
        self._precision = precision
        self._newest: Path | None = None

    def save(self, checkpoint: Checkpoint) -> bool:
        """Write beside the newest file, then put it in the older one's place; False where the disk refuses.

        Then a message is on the log, and the checkpoints that were there are still there.
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
                "training goes on, but an interruption now would lose more steps.",
                flush=True,
            )
            return False
        self._newest = target
        print(f"checkpoint step={checkpoint.progress.step} file={target.name}", flush=True)
        return True

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole and of this training, or None with nothing to go on from.

        A damaged or foreign one is named on the log.
        """
        for _, path in self._by_age():
            header, content = _read(path)
            if header is None or hashlib.sha256(content).hexdigest() != header["sha256"]:
                print(f"{path.name} is damaged: looking for an earlier checkpoint.", flush=True)
            elif header["fingerprint"] != self._fingerprint:
                print(f"{path.name} is of other data or settings and is not used.", flush=True)
            else:
                self._newest = path
                return _decode(content)
        return None

    def precision(self) -> Precision | None:
        """The setting that gives the number format of the newest checkpoint, None without one."""
        headers = [_header(path) for _, path in self._by_age()]
        noted = next((header["precision"] for header in headers if header), None)
        return None if noted is None else "bf16" if noted == "bfloat16" else "fp32"

    def _by_age(self) -> list[tuple[int, Path]]:
        """The files that are there, those of the most steps first; unreadable ones before all others."""
        paths = [path for name in FILE_NAMES if (path := self._folder / name).is_file()]
        return sorted((-header["step"] if (header := _header(p)) else -(1 << 62), p) for p in paths)

    def _encode(self, checkpoint: Checkpoint) -> tuple[bytes, memoryview]:
        buffer = io.BytesIO()
        state = {
            "progress": asdict(checkpoint.progress),
            "adapter": checkpoint.adapter,
            "optimizer": checkpoint.optimizer,
            "random": checkpoint.random,
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
    """The first line and the rest; None for a first line that is not one of ours."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(_LONGEST_HEADER))
            known = isinstance(header, dict) and header.get("format") == _FORMAT
            return (header if known else None), b"" if header_only else file.read()
    except (OSError, ValueError):
        return None, b""


def _decode(content: bytes) -> Checkpoint:
    """Raises JobError for what is whole and yet cannot be read: another version of the libraries wrote it."""
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise JobError(
            "The checkpoint cannot be read by this version of PyTorch. "
            "Delete the run's checkpoints/ folder in the artifacts bucket and run again."
        ) from error
    values = state["progress"]
    values["rows"] = [Row(**row) for row in values["rows"]]
    values["pace"] = Pace(**values["pace"])
    return Checkpoint(Progress(**values), state["adapter"], state["optimizer"], state["random"])


def fingerprint(settings: Hyperparameters, rows: Iterable[TokenSequence], base_config: str) -> str:
    """A hash that is equal only for the same settings, tokens and base model (but for the time allowed)."""
    digest = hashlib.sha256()
    kept = {name: value for name, value in asdict(settings).items() if not name.endswith("_seconds")}
    digest.update(repr(sorted(kept.items())).encode())
    digest.update(base_config.encode())
    for row in rows:
        digest.update(repr((row.tokens, row.taught)).encode())
    return digest.hexdigest()
