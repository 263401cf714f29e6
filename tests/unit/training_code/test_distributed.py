"""Several real processes, started as SageMaker starts them, train the same adapter as one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from storyloom_jobs.container import TERMINATED, JobError, run_job
from storyloom_jobs.cpu import resources
from storyloom_jobs.hardware import MachineShare
from storyloom_jobs.hyperparameters import Sharding
from storyloom_jobs.tokenization import TokenSequence
from storyloom_jobs.training.distributed import ProcessGroup, needs_sharding, with_sharded_memory
from storyloom_jobs.training.job import train
from storyloom_jobs.training.launcher import Cluster
from tests.unit.training_code.conftest import CODE, SMALL, Job, make_job

GIB = 1024**3


def started(job: Job, hosts: tuple[str, ...], current: str, processes: int) -> subprocess.Popen[str]:
    """Start `train.py` as SageMaker does on one instance."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(job.root),
        "OMP_NUM_THREADS": "1",
        "SM_MODEL_DIR": str(job.paths.model),
        "SM_HOSTS": json.dumps(hosts),
        "SM_CURRENT_HOST": current,
        "SM_NUM_GPUS": str(processes),
    }
    return subprocess.Popen(
        [sys.executable, str(CODE / "train.py")],
        env=environment,
        cwd=job.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for the process, check its exit code, and return its output."""
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output
    return output


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Job:
    """The same training in one process."""
    job = make_job(tmp_path_factory.mktemp("alone") / "ml", base_model)
    assert run_job(lambda: train(job.paths, time.monotonic()), job.paths.failure) == 0
    return job


def assert_same_curve(job: Job, alone: Job) -> None:
    for mine, its in zip(job.metrics(), alone.metrics(), strict=True):
        assert mine["step"] == its["step"]
        for name in ("train_loss", "validation_loss"):
            if mine[name] is not None and its[name] is not None:
                assert mine[name] == pytest.approx(its[name], abs=1e-3)
    assert job.result()["metrics"]["validation_loss"] == pytest.approx(
        alone.result()["metrics"]["validation_loss"], abs=1e-3
    )
    ours = load_file(job.root / "model" / "adapter_model.safetensors")
    for name, value in load_file(alone.root / "model" / "adapter_model.safetensors").items():
        torch.testing.assert_close(ours[name], value, rtol=1e-2, atol=1e-3)


def test_two_instances_train_the_same_adapter_as_one(tmp_path: Path, base_model: Path, alone: Job) -> None:
    hosts = ("127.0.0.1", "localhost")  # two names of this machine that it can find
    jobs = [make_job(tmp_path / host, base_model) for host in hosts]
    processes = [started(job, hosts, host, 1) for job, host in zip(jobs, hosts, strict=True)]
    for process in processes:
        ended(process)
    assert jobs[0].result()["processes"] == 2 and not jobs[0].result()["sharded"]
    assert_same_curve(jobs[0], alone)
    assert not (jobs[1].root / "model" / "training.json").exists(), "the first instance writes"


def logits(base_model: Path, job: Job | None) -> torch.Tensor:
    """Compute logits in one process, with the job's adapter loaded by plain peft."""
    model: Any = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32)
    if job is not None:
        model = PeftModel.from_pretrained(model, job.root / "model")
    with torch.no_grad():
        result: torch.Tensor = model.eval()(input_ids=torch.arange(5, 45)[None]).logits
    return result


def test_with_a_sharded_base_all_stop_at_the_same_step_and_resume_to_the_same_adapter(
    job: Job, base_model: Path, alone: Job
) -> None:
    job.settings(**SMALL, epochs=3, sharding="full")
    process = started(job, ("algo-1",), "algo-1", 2)
    output = process.stdout
    assert output is not None
    next(line for line in output if line.startswith("progress step=3 "))
    process.send_signal(signal.SIGTERM)
    ended(process, TERMINATED)
    stopped_at = job.result()["steps"]
    assert job.result()["ended_by"] == "stopped" and 3 <= stopped_at < alone.result()["steps"]
    rest = ended(started(job, ("algo-1",), "algo-1", 2))
    assert f"Resuming from step {stopped_at} " in rest
    assert job.result()["processes"] == 2 and job.result()["sharded"]
    assert rest.count(f"progress step={stopped_at + 1} ") == 1, "only the main process logs"
    assert_same_curve(job, alone)
    opened, expected, bare = (logits(base_model, of) for of in (job, alone, None))
    learnt = float((expected - bare).norm())
    assert learnt > 0
    assert float((opened - expected).norm()) < 0.05 * learnt


def test_the_launcher_starts_without_the_libraries_that_take_seconds() -> None:
    program = "import sys; import storyloom_jobs.training.launcher; print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=CODE, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


def test_an_error_of_all_processes_is_reported_once(job: Job) -> None:
    job.settings(**SMALL, epochs="lots")
    ended(started(job, ("algo-1",), "algo-1", 2), 1)
    assert "epochs is 'lots'" in job.paths.failure.read_text()


def test_the_instances_are_read_from_sagemakers_file(job: Job) -> None:
    assert not Cluster.read(job.paths, {"SM_NUM_GPUS": "0"}).needs_launcher
    job.paths.hyperparameters.with_name("resourceconfig.json").write_text(
        json.dumps(
            {
                "current_host": "algo-2",
                "hosts": ["algo-2", "algo-1"],
                "network_interface_name": "eth0",
            }
        )
    )
    cluster = Cluster.read(job.paths, {"SM_NUM_GPUS": "4"})
    assert cluster == Cluster(("algo-1", "algo-2"), "algo-2", 4, "eth0") and cluster.needs_launcher
    with pytest.raises(JobError, match=r"algo-9.*not among"):
        Cluster.read(job.paths, {"SM_CURRENT_HOST": "algo-9"})


@pytest.mark.parametrize(
    ("megabytes", "machine", "expected"),
    [
        (269, (2, 16), (2, 1)),
        (269, (8, 64), (2, 4)),
        (269, (1, 16), (1, None)),
        (269, (2, 7), (1, None)),
        (1, (2, 16), (1, None)),
        (16_000, (8, 64), (1, None)),
    ],
    ids=["two cores", "eight cores", "one core", "little memory", "a tiny base", "a base that fits once"],
)
def test_without_a_gpu_two_processes_share_the_processors(
    megabytes: int,
    machine: tuple[int, int],
    expected: tuple[int, int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = Job(tmp_path).paths
    paths.base_model.mkdir(parents=True)
    with (paths.base_model / "model.safetensors").open("wb") as file:
        file.truncate(megabytes * 2**20)
    cores, gibibytes = machine
    monkeypatch.setattr(resources, "cpu_count", lambda: cores)
    monkeypatch.setattr(resources, "memory_bytes", lambda: gibibytes * GIB)
    cluster = Cluster.read(paths, {"SM_NUM_GPUS": "0"})
    assert (cluster.processes, cluster.threads) == expected
    assert Cluster.read(paths, {"SM_NUM_GPUS": "1"}).processes == 1


def test_every_row_is_in_one_part_and_parts_have_about_as_many_tokens() -> None:
    rows = [TokenSequence((n,) * n, (True,) * n) for n in (50, 9, 30, 20, 11, 40)]
    parts = [ProcessGroup(rank, 3).local_rows(rows) for rank in range(3)]
    assert sorted(len(row) for part in parts for row in part) == [9, 11, 20, 30, 40, 50]
    assert {sum(map(len, part)) for part in parts} <= set(range(49, 62))
    assert ProcessGroup().local_rows(rows) is rows


@pytest.mark.parametrize(
    ("setting", "weights", "kind", "size", "needed"),
    [
        ("auto", 20 * GIB, "cuda", 1, False),
        ("none", 20 * GIB, "cuda", 4, False),
        ("full", 1 * GIB, "cpu", 4, True),
        ("auto", 20 * GIB, "cpu", 4, False),
        ("auto", 10 * GIB, "cuda", 4, False),
        ("auto", 20 * GIB, "cuda", 4, True),
    ],
)
def test_the_base_is_sharded_if_it_does_not_fit_one_gpu(
    setting: Sharding, weights: int, kind: Any, size: int, needed: bool
) -> None:
    machine = MachineShare(kind, 24 * GIB, False)
    assert needs_sharding(setting, weights, machine, ProcessGroup(0, size)) is needed


def test_a_sharded_base_frees_memory() -> None:
    machine = with_sharded_memory(MachineShare("cuda", 24 * GIB, False), 16 * GIB, ProcessGroup(0, 4))
    assert machine.memory_bytes == 36 * GIB
