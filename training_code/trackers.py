"""TensorBoard and MLflow, where they are installed. Whatever goes wrong with them never stops a training."""

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from training_code.container import first_line

EXPERIMENT = "storyloom"


class Tracker(Protocol):
    """Something that keeps figures by step."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep the figures of a step."""

    def close(self) -> None:
        """Send what is not sent yet."""


def open_trackers(
    tensorboard: Path, settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> list[Tracker]:
    """All trackers that can be had here.

    Args:
        tensorboard: folder for event files; they are written where the `tensorboard` package is installed.
        settings: noted with an MLflow run.
        environment: `MLFLOW_TRACKING_URI` turns MLflow on; `MLFLOW_EXPERIMENT_NAME` and the job's name
            (`TRAINING_JOB_NAME`) say where the run goes.
    """
    makers: list[tuple[str, Callable[[], Tracker]]] = []
    if importlib.util.find_spec("tensorboard") is not None:
        makers.append(("TensorBoard", lambda: _TensorBoard(tensorboard)))
    if environment.get("MLFLOW_TRACKING_URI"):
        makers.append(("MLflow", lambda: _MLflow(settings, environment)))
    return [_Harmless(name, make) for name, make in makers]


class _Harmless:
    """A tracker that says once what is wrong with it, and from then on does nothing."""

    def __init__(self, name: str, make: Callable[[], Tracker]) -> None:
        self._name = name
        self._tracker: Tracker | None = None
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
        print(f"{self._name} gets no figures ({first_line(error)}). Training goes on without it.", flush=True)


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
    """One run a job: an attempt after a spot interruption goes on in the run of the first."""

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
