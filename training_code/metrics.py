"""Figures of a running job: one line each in the log for SageMaker, one row each in `metrics.jsonl`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """The figures after one step; the validation loss only where it was measured."""

    step: int
    train_loss: float | None
    validation_loss: float | None
    tokens_per_second: float | None
    learning_rate: float
    seconds: float
    """Since the job started, earlier attempts included."""


def log_metric(name: str, value: float, step: int) -> None:
    """`metric train_loss=1.2345 step=10`, which the job's metric definitions look for."""
    print(f"metric {name}={value:.6g} step={step}", flush=True)


def log_progress(step: int, of: int, seconds: float) -> None:
    """`progress step=10 of=120 seconds=33`."""
    print(f"progress step={step} of={of} seconds={seconds:.0f}", flush=True)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write all rows as JSON lines."""
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")
