"""An interrupted training resumes as if it had never stopped.

Each attempt is a separate process, forked from one that has loaded the libraries, and is really killed.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from storyloom_jobs.container import TERMINATED, run_job
from storyloom_jobs.training import checkpoints, loop
from storyloom_jobs.training.job import train
from storyloom_jobs.training.metrics_log import log_progress
from tests.unit.training_code.conftest import SMALL, Job, make_job

STEPS = 8
EVERY = 2
LOG = "log.txt"


@pytest.fixture(scope="module", autouse=True)
def _preload_libraries() -> None:
    """Start the process that the attempts are forked from, with the libraries loaded."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, "torch.utils.tensorboard"])
    with pytest.MonkeyPatch.context() as patched:
        # It has the environment's import path, not pytest's, and ignores what it cannot import.
        patched.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Job:
    """Train without interruption."""
    job = resumable(tmp_path_factory.mktemp("whole") / "ml", base_model)
    assert attempt(job) == 0
    assert job.result()["steps"] == STEPS
    return job


def resumable(root: Path, base_model: Path) -> Job:
    job = make_job(root, base_model)
    # With dropout the random state has to come back as well.
    job.settings(**{**SMALL, "batch_tokens": 460}, epochs=2, lora_dropout=0.2, checkpoint_steps=EVERY)
    return job


def run(root: Path, kill_after: int) -> None:
    """Run one attempt in this process, which kills itself after step `kill_after`, or never if it is -1."""
    torch.set_num_threads(1)
    job = Job(root)
    output = os.open(root / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)

    def report(step: int, of: int, seconds: float, left: float) -> None:
        log_progress(step, of, seconds, left)
        if step == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    pytest.MonkeyPatch().setattr(loop, "log_progress", report)
    raise SystemExit(run_job(lambda: train(job.paths, time.monotonic()), job.paths.failure))


def started(job: Job, kill_after: int = -1) -> BaseProcess:
    process = multiprocessing.get_context("forkserver").Process(target=run, args=(job.root, kill_after))
    process.start()
    return process


def attempt(job: Job, kill_after: int = -1) -> int | None:
    process = started(job, kill_after)
    process.join(60)
    return process.exitcode


def log(job: Job) -> str:
    return (job.root / LOG).read_text()


def steps_done(job: Job) -> list[int]:
    """List the steps of all attempts, in their order."""
    return [
        int(line.split()[1].removeprefix("step="))
        for line in log(job).splitlines()
        if line.startswith("progress")
    ]


def assert_same(job: Job, whole: Job) -> None:
    assert job.result()["steps"] == whole.result()["steps"]
    for mine, its in zip(job.metrics(), whole.metrics(), strict=True):
        assert mine["step"] == its["step"]
        assert mine["train_loss"] == pytest.approx(its["train_loss"], abs=1e-6)
        assert mine["learning_rate"] == its["learning_rate"]
    ours = load_file(job.root / "model" / "adapter_model.safetensors")
    for name, value in load_file(whole.root / "model" / "adapter_model.safetensors").items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-6)
    for name in ("validation_loss", "validation_loss_before"):
        assert job.result()["metrics"][name] == pytest.approx(whole.result()["metrics"][name], abs=1e-6)


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_training_killed_at_any_step_repeats_at_most_one_interval_and_ends_the_same(
    step: int, tmp_path: Path, base_model: Path, whole: Job
) -> None:
    job = resumable(tmp_path / "ml", base_model)
    assert attempt(job, kill_after=step) == -signal.SIGKILL
    assert not (job.root / "model" / "training.json").exists()
    assert attempt(job) == 0
    assert_same(job, whole)
    assert len(steps_done(job)) - STEPS <= EVERY


def test_a_training_killed_several_times_ends_the_same(tmp_path: Path, base_model: Path, whole: Job) -> None:
    job = resumable(tmp_path / "ml", base_model)
    for step in (3, 5, 7):
        assert attempt(job, kill_after=step) == -signal.SIGKILL
    assert attempt(job) == 0
    assert_same(job, whole)


@pytest.mark.parametrize("seed", range(5))
def test_a_training_stopped_at_any_moment_saves_and_repeats_nothing(
    seed: int, tmp_path: Path, base_model: Path, whole: Job
) -> None:
    moment = random.Random(seed)  # noqa: S311 (a moment, not a secret)
    for number in range(9):
        job = resumable(tmp_path / f"ml{number}", base_model)
        process = started(job)
        wanted = moment.randrange(1, STEPS)
        while process.is_alive() and (not (job.root / LOG).exists() or len(steps_done(job)) < wanted):
            time.sleep(0.002)
        time.sleep(moment.uniform(0, 0.03))
        told = time.monotonic()
        process.terminate()
        process.join(60)
        assert time.monotonic() - told < 10, "SageMaker waits for two minutes"
        if process.exitcode != 0:  # otherwise it had just ended by itself
            break
    assert process.exitcode == TERMINATED
    assert job.result()["ended_by"] == "stopped" and not job.paths.failure.exists()
    assert attempt(job) == 0
    assert_same(job, whole)
    assert steps_done(job) == list(range(1, STEPS + 1)), "no step is done twice"


def test_a_training_stopped_before_the_first_step_ends_at_once(
    tmp_path: Path, base_model: Path, whole: Job
) -> None:
    job = resumable(tmp_path / "ml", base_model)
    process = started(job)
    while process.is_alive() and not (job.root / LOG).exists():
        time.sleep(0.001)
    time.sleep(0.1)
    process.terminate()
    process.join(60)
    assert attempt(job) == 0
    assert_same(job, whole)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:-9] + b"x" * 9,
    ],
    ids=["cut", "empty", "changed"],
)
def test_a_damaged_newest_checkpoint_is_replaced_by_the_previous_one(
    spoil: object, tmp_path: Path, base_model: Path, whole: Job
) -> None:
    job = resumable(tmp_path / "ml", base_model)
    attempt(job, kill_after=7)
    files = [job.paths.checkpoints / name for name in checkpoints.FILE_NAMES]
    written = sorted(path for path in job.paths.checkpoints.iterdir() if path != job.paths.tensorboard)
    assert written == files, "the two newest and nothing else"
    newest = max(files, key=step_of)
    assert {step_of(file) for file in files} == {4, 6}
    newest.write_bytes(spoil(newest.read_bytes()))  # type: ignore[operator]
    assert attempt(job) == 0
    assert f"{newest.name} is damaged" in log(job)
    assert "Resuming from step 4 " in log(job)
    assert_same(job, whole)


def step_of(file: Path) -> int:
    with file.open("rb") as content:
        return int(json.loads(content.readline())["step"])


def test_a_partly_written_file_is_not_a_checkpoint(tmp_path: Path, base_model: Path, whole: Job) -> None:
    job = resumable(tmp_path / "ml", base_model)
    attempt(job, kill_after=5)
    (job.paths.checkpoints / ".checkpoint.partial").write_bytes(b"half of something")
    assert attempt(job) == 0
    assert_same(job, whole)


def test_a_checkpoint_of_other_settings_is_logged_and_not_used(
    tmp_path: Path, base_model: Path, whole: Job
) -> None:
    job = resumable(tmp_path / "ml", base_model)
    job.settings(**SMALL, epochs=2, checkpoint_steps=1)
    attempt(job, kill_after=3)
    settings = whole.root / "input" / "config" / "hyperparameters.json"
    (job.root / "input" / "config" / "hyperparameters.json").write_bytes(settings.read_bytes())
    assert attempt(job) == 0
    assert "with other data or settings" in log(job)
    assert_same(job, whole)


def test_a_full_disk_loses_the_checkpoint_but_not_the_training(
    tmp_path: Path, base_model: Path, whole: Job
) -> None:
    job = resumable(tmp_path / "ml", base_model)
    job.paths.checkpoints.mkdir()
    # The device on which every write fails as on a full disk.
    (job.paths.checkpoints / ".checkpoint.partial").symlink_to("/dev/full")
    assert attempt(job) == 0
    assert log(job).count("was not written (No space left on device)") == 1
    assert_same(job, whole)


def test_without_space_for_the_adapter_training_ends(
    tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = resumable(tmp_path / "ml", base_model)
    job.paths.checkpoints.mkdir()
    (job.paths.checkpoints / ".checkpoint.partial").symlink_to("/dev/full")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    assert run_job(lambda: train(job.paths, time.monotonic()), job.paths.failure) == 1
    assert "disk is full" in job.paths.failure.read_text()
    assert not (job.root / "model" / "training.json").exists()


def test_the_schedule_continues_with_the_measured_pace(tmp_path: Path) -> None:
    kept = checkpoints.CheckpointFiles(tmp_path, "this")
    progress = checkpoints.TrainingProgress(step=3, validate_every=5, micro_batch_tokens=64)
    progress.pace.add(2.0)
    progress.pace.add(1.0)
    assert kept.save(checkpoints.Checkpoint(progress, {}, {}, []))
    found = checkpoints.CheckpointFiles(tmp_path, "this").load()
    assert found is not None and found.progress == progress
    assert found.progress.pace.seconds_per_step == 1.0
