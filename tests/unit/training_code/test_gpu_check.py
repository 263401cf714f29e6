"""A job that needs a GPU and finds none that works fails at once, with the reason."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storyloom_jobs.container import JobError
from storyloom_jobs.gpu_check import CPU_STANDS_IN, require_gpu
from tests.unit.training_code.conftest import CODE, SMALL, Job

# The parts of PyTorch that the probe uses, on a machine with {count} GPUs.
TORCH = """
import time

class Matrix:
    def __init__(self, device): self.device = device
    def __matmul__(self, other):
        {multiply}
        return self
    def sum(self): return {sum}

def ones(*shape, device): return Matrix(device)

class cuda:
    @staticmethod
    def init():
        {init}
    @staticmethod
    def device_count(): return {count}
"""
WORKS = {"init": "pass", "count": "1", "multiply": "pass", "sum": "256.0 ** 3"}
TOO_OLD = "raise RuntimeError('The NVIDIA driver on your system is too old (found version 11040).')"
NO_KERNEL = "raise RuntimeError('CUDA error: no kernel image is available for execution on the device')"


def machine(folder: Path, driver: str = "", **torch: str) -> dict[str, str]:
    """Make the environment of an instance: a fake PyTorch, and the output of nvidia-smi."""
    (folder / "lib").mkdir()
    (folder / "lib" / "torch.py").write_text(TORCH.format(**{**WORKS, **torch}))
    (folder / "bin").mkdir()
    if driver:
        program = folder / "bin" / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{driver}\nEND\n")
        program.chmod(0o755)
    return {"PYTHONPATH": str(folder / "lib"), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("driver", "torch", "reason"),
    [
        ("NVIDIA L4, 470.57.02, 23034 MiB", {"init": TOO_OLD}, r"too old \(found version 11040\).*NVIDIA L4"),
        ("NVIDIA L4, 580.95.05, 23034 MiB", {"count": "0"}, "PyTorch finds no GPU"),
        ("NVIDIA L4, 580.95.05, 23034 MiB", {"multiply": NO_KERNEL}, "no kernel image is available"),
        ("NVIDIA L4, 580.95.05, 23034 MiB", {"sum": "float('nan')"}, "GPU 0 computes wrongly"),
        ("NVIDIA L4, 580, 1\nNVIDIA L4, 580, 1", {}, "PyTorch finds 1 of 2 GPUs"),
        ("", {"init": "raise AssertionError('Torch not compiled with CUDA enabled')"}, "lists no GPU"),
        ("NVIDIA L4, 580, 1", {"init": "import os; os._exit(134)"}, "exit code 134"),
    ],
    ids=["old driver", "no device", "no kernel", "wrong result", "one of two", "no driver", "a crash"],
)
def test_a_gpu_that_does_not_work_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, torch: dict[str, str], reason: str
) -> None:
    instance = machine(tmp_path, driver, **torch)
    monkeypatch.setenv("PATH", instance["PATH"])
    with pytest.raises(JobError, match=rf"needs a GPU that works.*: .*{reason}.*another instance type"):
        require_gpu("gpu", {**os.environ, **instance})


def test_a_device_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storyloom_jobs.gpu_check._TIMEOUT_SECONDS", 0.5)
    with pytest.raises(JobError, match="did not end within"):
        require_gpu("gpu", {**os.environ, **machine(tmp_path, multiply="time.sleep(600)")})


def test_gpus_that_work_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = machine(tmp_path, "NVIDIA L4, 580, 1\nNVIDIA L4, 580, 1", count="2")
    monkeypatch.setenv("PATH", instance["PATH"])
    require_gpu("gpu", {**os.environ, **instance, "SM_NUM_GPUS": "2"})


def test_a_processor_is_accepted_only_if_allowed(tmp_path: Path) -> None:
    broken = {**os.environ, **machine(tmp_path, count="0")}
    require_gpu("auto", broken)
    require_gpu("gpu", {**broken, CPU_STANDS_IN: "1"})
    with pytest.raises(JobError):
        require_gpu("gpu", broken)


@pytest.mark.aws_fact
def test_a_training_job_without_its_gpu_fails_at_once(job: Job, tmp_path: Path) -> None:
    job.settings(**SMALL, accelerator="gpu")
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, str(CODE / "train.py")],
        env={**os.environ, **machine(tmp_path, init=TOO_OLD), "SM_MODEL_DIR": str(job.root / "model")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1 and time.monotonic() - started < 60
    assert "too old" in (words := job.paths.failure.read_text()) and "Start the run again" in words
    assert ended.stderr.strip().endswith(words)
    assert not (job.root / "model").exists() and "metric" not in ended.stdout


@pytest.mark.aws_fact
def test_an_evaluation_without_its_gpu_fails_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from storyloom_jobs.evaluation.job import run_evaluation

    monkeypatch.setenv("LOCAL_AWS_PROCESSING_ROOT", str(tmp_path / "processing"))
    monkeypatch.setenv("STORYLOOM_ACCELERATOR", "gpu")
    for name, value in machine(tmp_path, count="0").items():
        monkeypatch.setenv(name, value)
    assert run_evaluation() == 1
    assert "PyTorch finds no GPU" in (tmp_path / "output" / "message").read_text()
    assert "PyTorch finds no GPU" in capsys.readouterr().err
