"""The metrics of a running training, in the log, the file and the trackers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from storyloom_jobs.hardware import MachineShare, PrecisionConfig, peak_flops, peak_memory_gib
from storyloom_jobs.hyperparameters import Hyperparameters
from storyloom_jobs.lora_model import add_adapter, flops_per_token, load_base, read_base_shape
from storyloom_jobs.training import metrics_log
from storyloom_jobs.training.metrics_log import MetricsLogger, open_trackers
from tests.unit.tiny_model import save_tiny_model

CPU = PrecisionConfig(torch.device("cpu"), torch.float32)


def test_a_step_has_speed_peak_fraction_memory_and_cost() -> None:
    metrics = MetricsLogger(flops_per_token=2e9, peak_flops=1e12, usd_per_hour=1.13)
    row = metrics.step(3, 2.5, 125.0, 1e-3, 1800.0)
    assert (row.step, row.train_loss, row.tokens_per_second, row.learning_rate) == (3, 2.5, 125.0, 1e-3)
    assert row.peak_fraction == 0.25
    assert row.cost_usd == 0.565
    assert row.memory_gib is not None and 0.05 < row.memory_gib < 64


def test_unknown_metrics_are_left_out() -> None:
    row = MetricsLogger().step(1, 2.5, 125.0, 1e-3, 1800.0)
    assert (row.peak_fraction, row.cost_usd) == (None, None)


def test_every_metric_definition_matches_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aws_cdk")  # not in the training image
    import re

    from stacks.pipeline.job_states import METRIC_DEFINITIONS

    metrics = MetricsLogger(flops_per_token=2e9, peak_flops=1e12, usd_per_hour=1.13)
    metrics.step(1, 2.5, 125.0, 1e-3, 1800.0)
    metrics.validation(1, 2.25, 1801.0)
    out = capsys.readouterr().out
    found = {each["Name"]: re.search(each["Regex"], out) for each in METRIC_DEFINITIONS}
    values = {name: float(match.group(1)) for name, match in found.items() if match is not None}
    assert values.pop("train:memory_gib") > 0
    assert values == {
        "train:loss": 2.5,
        "validation:loss": 2.25,
        "train:tokens_per_second": 125.0,
        "train:learning_rate": 0.001,
        "train:peak_fraction": 0.25,
        "train:cost_usd": 0.565,
    }


def test_slow_metrics_are_not_logged_at_every_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = MetricsLogger(usd_per_hour=1.0)
    for step in range(1, 6):
        metrics.step(step, 2.5, 125.0, 1e-3, 10.0 * step)
    assert capsys.readouterr().out.count("cost_usd") == 1
    monkeypatch.setattr(metrics_log, "SLOW_METRICS_SECONDS", 0.0)
    metrics.step(6, 2.5, 125.0, 1e-3, 60.0)
    assert "cost_usd=0.0167 step=6" in capsys.readouterr().out


def test_metrics_can_be_read_while_the_job_runs(tmp_path: Path) -> None:
    metrics = MetricsLogger(live_file=tmp_path / "model" / "metrics.jsonl")
    metrics.validation(0, 3.0, 1.0)
    metrics.step(1, 2.5, 125.0, 1e-3, 2.0)
    rows = [json.loads(line) for line in (tmp_path / "model" / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["train_loss"], row["validation_loss"]) for row in rows] == [
        (0, None, 3.0),
        (1, 2.5, None),
    ]


def _show(metrics: MetricsLogger) -> None:
    metrics.validation(0, 3.0, 1.0)
    metrics.step(1, 2.5, 125.0, 1e-3, 2.0)
    metrics.close()


def test_tensorboard_reads_the_event_files(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _show(MetricsLogger(trackers=open_trackers(tmp_path, {}, {})))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train_loss")] == [(1, 2.5)]
    assert [(event.step, event.value) for event in events.Scalars("validation_loss")] == [(0, 3.0)]
    assert "memory_gib" in events.Tags()["scalars"]


def test_mlflow_gets_settings_and_metrics_and_the_next_attempt_continues_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")  # not in the training image
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "runs").as_uri()
    environment = {"MLFLOW_TRACKING_URI": uri, "TRAINING_JOB_NAME": "storyloom-train-1"}
    for _ in range(2):
        _show(MetricsLogger(trackers=open_trackers(tmp_path / "events", {"epochs": 3}, environment)))
    client: Any = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("storyloom")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"epochs": "3"}
    assert run.data.metrics["train_loss"] == 2.5
    assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 2


def test_a_failing_tracker_is_logged_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"MLFLOW_TRACKING_URI": "arn:aws:sagemaker:eu-west-1:1:mlflow-tracking-server/x"}
    _show(MetricsLogger(trackers=open_trackers(tmp_path, {}, environment)))
    out = capsys.readouterr().out
    assert out.count("MLflow receives no metrics") == 1
    assert "needs the package sagemaker-mlflow" in out


def test_the_flops_of_a_token_are_those_of_its_matrix_products(tmp_path: Path) -> None:
    base = load_base(save_tiny_model(tmp_path), CPU)
    # Two layers of width 32: q and o 32x32, k and v 32x16, three of 32x64; a head of 259 words.
    weights = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64) + 32 * 259
    assert flops_per_token(base, 0) == 4 * weights
    assert flops_per_token(base, 100) == 4 * weights + 6 * 2 * 32 * 100
    assert flops_per_token(add_adapter(base, Hyperparameters(lora_rank=4)), 0) == 4 * weights


def test_the_shape_of_a_base_is_read_without_loading_it(tmp_path: Path) -> None:
    shape = read_base_shape(save_tiny_model(tmp_path, context=300))
    base = load_base(tmp_path, CPU)
    assert shape.parameters == sum(parameter.numel() for parameter in base.parameters())
    assert (shape.layers, shape.hidden, shape.intermediate, shape.context) == (2, 32, 64, 300)
    other = read_base_shape(save_tiny_model(tmp_path / "gpt2", "gpt2"))
    assert (other.layers, other.hidden, other.intermediate, other.context) == (2, 32, 128, 512)


def test_memory_and_peak_rate_are_measured() -> None:
    machine = MachineShare.detect(torch.device("cpu"))
    assert (machine.kind, machine.has_bitsandbytes) == ("cpu", False)
    assert machine.memory_bytes > peak_memory_gib(torch.device("cpu")) * 2**30
    measured = peak_flops(CPU)
    assert measured is not None and 1e9 < measured < 1e15
