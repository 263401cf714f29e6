"""Figures of a running job: in the log for SageMaker, as rows in `metrics.jsonl`, and in trackers."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from training_code.machine import memory_used
from training_code.trackers import Tracker

SLOW_SECONDS = 10.0
"""Figures that change slowly, or with the others, are logged no more often: a log is read line by line."""

_SLOW = ("learning_rate", "peak_fraction", "memory_gib", "cost_usd")


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
    peak_fraction: float | None = None
    """Share of the fastest that matrix products run here, None where that is not known."""
    memory_gib: float | None = None
    """At its most so far."""
    cost_usd: float | None = None
    """So far, on demand, None where the price is not known."""


@dataclass
class Monitor:
    """Makes each step's row and shows its figures wherever somebody may be looking.

    A monitor without arguments only logs.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    flops_per_token: float = 0.0
    peak_flops: float | None = None
    """Of all processors together."""
    usd_per_hour: float = 0.0
    live_file: Path | None = None
    """Gets each row at once, so that a running job can be looked at."""
    trackers: Sequence[Tracker] = ()
    _slow_logged_at: float = -SLOW_SECONDS

    def step(
        self, step: int, loss: float, tokens_per_second: float, learning_rate: float, seconds: float
    ) -> Row:
        """The row of one step, which is logged and tracked."""
        row = Row(
            step,
            round(loss, 6),
            None,
            round(tokens_per_second, 1),
            learning_rate,
            round(seconds, 2),
            self._peak_fraction(tokens_per_second),
            round(memory_used(self.device), 3),
            self._cost(seconds),
        )
        log_metric("train_loss", loss, step)
        log_metric("tokens_per_second", tokens_per_second, step)
        self._log_slow(row)
        self._track(row)
        return row

    def validation(self, step: int, loss: float, seconds: float) -> Row:
        """The row of a measurement, which is logged and tracked."""
        row = Row(step, None, loss, None, 0.0, round(seconds, 2), cost_usd=self._cost(seconds))
        log_metric("validation_loss", loss, step)
        self._track(row)
        return row

    def close(self) -> None:
        """Let the trackers send what they still have."""
        for tracker in self.trackers:
            tracker.close()

    def _peak_fraction(self, tokens_per_second: float) -> float | None:
        if not self.peak_flops or not self.flops_per_token:
            return None
        return round(tokens_per_second * self.flops_per_token / self.peak_flops, 4)

    def _cost(self, seconds: float) -> float | None:
        return round(seconds / 3600 * self.usd_per_hour, 4) if self.usd_per_hour else None

    def _log_slow(self, row: Row) -> None:
        now = time.monotonic()
        if now - self._slow_logged_at < SLOW_SECONDS:
            return
        self._slow_logged_at = now
        for name in _SLOW:
            value = getattr(row, name)
            if value is not None:
                log_metric(name, value, row.step)

    def _track(self, row: Row) -> None:
        values = {name: value for name, value in asdict(row).items() if name != "step" and value is not None}
        if row.train_loss is None:
            values.pop("learning_rate")
        if self.live_file is not None:
            self.live_file.parent.mkdir(parents=True, exist_ok=True)
            with self.live_file.open("a", encoding="utf-8") as file:
                file.write(_line(row))
        for tracker in self.trackers:
            tracker.log(values, row.step)


def log_metric(name: str, value: float, step: int) -> None:
    """`metric train_loss=1.2345 step=10`, which the job's metric definitions look for."""
    print(f"metric {name}={value:.6g} step={step}", flush=True)


def log_progress(step: int, of: int, seconds: float, left: float) -> None:
    """`progress step=10 of=120 seconds=33 left=363`."""
    print(f"progress step={step} of={of} seconds={seconds:.0f} left={left:.0f}", flush=True)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write all rows as JSON lines."""
    path.write_text("".join(_line(row) for row in rows), encoding="utf-8")


def _line(row: Row) -> str:
    return json.dumps(asdict(row)) + "\n"
