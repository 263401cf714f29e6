"""Metrics of a running training: on the log for SageMaker, in `metrics.jsonl`, in TensorBoard and MLflow."""

import importlib
import importlib.util
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from storyloom_jobs.container import first_line, log_metric
from storyloom_jobs.hardware import peak_memory_gib

SLOW_METRICS_SECONDS = 10.0
"""Interval of metrics that change slowly or along with others, to keep the log short."""

_SLOW_METRICS = ("learning_rate", "peak_fraction", "memory_gib", "cost_usd")


EXPERIMENT = "storyloom"
"""Default name of the MLflow experiment."""


@dataclass(frozen=True)
class MetricsRow:
    """Metrics after one step; the validation loss only if it was measured."""

    step: int
    train_loss: float | None
    validation_loss: float | None
    tokens_per_second: float | None
    learning_rate: float
    seconds: float
    """Seconds since the job started, including earlier attempts."""
    peak_fraction: float | None = None
    """Share of the highest rate of matrix products; None if that rate is unknown."""
    memory_gib: float | None = None
    """Peak memory so far."""
    cost_usd: float | None = None
    """Cost so far at the on-demand price; None if the price is unknown."""


class MetricsTracker(Protocol):
    """Stores metrics by step, such as TensorBoard or MLflow."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Store the metrics of a step."""

    def close(self) -> None:
        """Send what was not sent yet."""


@dataclass
class MetricsLogger:
    """Makes a row of metrics for each step, and writes it to the log, the file and the trackers.

    Without arguments it only writes to the log.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    flops_per_token: float = 0.0
    peak_flops: float | None = None
    """Highest rate of matrix products of all processes together."""
    usd_per_hour: float = 0.0
    live_file: Path | None = None
    """File that each row is appended to at once, so that a running job can be watched."""
    trackers: Sequence[MetricsTracker] = ()
    _slow_logged_at: float = -SLOW_METRICS_SECONDS

    def step(
        self, step: int, loss: float, tokens_per_second: float, learning_rate: float, seconds: float
    ) -> MetricsRow:
        """Log and track the metrics of one step; return its row."""
        row = MetricsRow(
            step,
            round(loss, 6),
            None,
            round(tokens_per_second, 1),
            learning_rate,
            round(seconds, 2),
            self._peak_fraction(tokens_per_second),
            round(peak_memory_gib(self.device), 3),
            self._cost(seconds),
        )
        log_metric("train_loss", loss, step)
        log_metric("tokens_per_second", tokens_per_second, step)
        self._log_slow(row)
        self._track(row)
        return row

    def validation(self, step: int, loss: float, seconds: float) -> MetricsRow:
        """Log and track a validation; return its row."""
        row = MetricsRow(step, None, loss, None, 0.0, round(seconds, 2), cost_usd=self._cost(seconds))
        log_metric("validation_loss", loss, step)
        self._track(row)
        return row

    def close(self) -> None:
        """Close the trackers, which send what is left."""
        for tracker in self.trackers:
            tracker.close()

    def _peak_fraction(self, tokens_per_second: float) -> float | None:
        if not self.peak_flops or not self.flops_per_token:
            return None
        return round(tokens_per_second * self.flops_per_token / self.peak_flops, 4)

    def _cost(self, seconds: float) -> float | None:
        return round(seconds / 3600 * self.usd_per_hour, 4) if self.usd_per_hour else None

    def _log_slow(self, row: MetricsRow) -> None:
        now = time.monotonic()
        if now - self._slow_logged_at < SLOW_METRICS_SECONDS:
            return
        self._slow_logged_at = now
        for name in _SLOW_METRICS:
            value = getattr(row, name)
            if value is not None:
                log_metric(name, value, row.step)

    def _track(self, row: MetricsRow) -> None:
        values = {name: value for name, value in asdict(row).items() if name != "step" and value is not None}
        if row.train_loss is None:
            values.pop("learning_rate")
        if self.live_file is not None:
            self.live_file.parent.mkdir(parents=True, exist_ok=True)
            with self.live_file.open("a", encoding="utf-8") as file:
                file.write(_line(row))
        for tracker in self.trackers:
            tracker.log(values, row.step)


def log_progress(step: int, of: int, seconds: float, left: float) -> None:
    """Print `progress step=10 of=120 seconds=33 left=363`."""
    print(f"progress step={step} of={of} seconds={seconds:.0f} left={left:.0f}", flush=True)


def write_rows(rows: Sequence[MetricsRow], path: Path) -> None:
    """Write all rows as JSON lines."""
    path.write_text("".join(_line(row) for row in rows), encoding="utf-8")


def _line(row: MetricsRow) -> str:
    return json.dumps(asdict(row)) + "\n"


def open_trackers(
    tensorboard: Path, settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> list[MetricsTracker]:
    """Open the trackers that are installed and configured. Their errors never stop a training.

    Args:
        tensorboard: folder for event files, written if the `tensorboard` package is installed.
        settings: parameters of the MLflow run.
        environment: `MLFLOW_TRACKING_URI` turns MLflow on; `MLFLOW_EXPERIMENT_NAME` and the job's name
            (`TRAINING_JOB_NAME`) name the experiment and the run.
    """
    makers: list[tuple[str, Callable[[], MetricsTracker]]] = []
    if importlib.util.find_spec("tensorboard") is not None:
        makers.append(("TensorBoard", lambda: _TensorBoard(tensorboard)))
    if environment.get("MLFLOW_TRACKING_URI"):
        makers.append(("MLflow", lambda: _MLflow(settings, environment)))
    return [_FailSafeTracker(name, make) for name, make in makers]


class _FailSafeTracker:
    """Wraps a tracker: logs its first error, then does nothing."""

    def __init__(self, name: str, make: Callable[[], MetricsTracker]) -> None:
        self._name = name
        self._tracker: MetricsTracker | None = None
        try:
            self._tracker = make()
        except Exception as error:
            self._give_up(error)

    def log(self, values: Mapping[str, float], step: int) -> None:
        if self._tracker is not None:
            try:
                self._tracker.log(values, step)
            except Exception as error:
                self._give_up(error)

    def close(self) -> None:
        if self._tracker is not None:
            try:
                self._tracker.close()
            except Exception as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._tracker = None
        print(
            f"{self._name} receives no metrics ({first_line(error)}). Training continues without it.",
            flush=True,
        )


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self._writer: Any = writer(log_dir=str(folder))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """One MLflow run per job: an attempt after a spot interruption continues the same run."""

    def __init__(self, settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        uri = environment["MLFLOW_TRACKING_URI"]
        if uri.startswith("arn:") and importlib.util.find_spec("sagemaker_mlflow") is None:
            raise RuntimeError("a tracking server named by ARN needs the package sagemaker-mlflow")
        client: Any = importlib.import_module("mlflow").MlflowClient(tracking_uri=uri)
        name = environment.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        job = environment.get("TRAINING_JOB_NAME", "training")
        earlier = client.search_runs([experiment], f"attributes.run_name = '{job}'", max_results=1)
        self._client = client
        if earlier:
            self._run = earlier[0].info.run_id
            client.update_run(self._run, status="RUNNING")
        else:
            self._run = client.create_run(experiment, run_name=job).info.run_id
            for setting, value in settings.items():
                client.log_param(self._run, setting, value)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)
