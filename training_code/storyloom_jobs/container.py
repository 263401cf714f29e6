"""SageMaker's container contract: the folders of a job, its exit code, its failure message, its log lines."""

import errno
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a job that received SIGTERM and saved its state."""

FAILURE_BYTES = 1024
"""Length to which SageMaker cuts a training job's failure file and a processing job's exit message."""

STOP_FILE = "STORYLOOM_STOP_FILE"
"""Environment variable with the path of a file. The launcher creates it to tell its processes to stop."""

DISK_FULL = "The job's disk is full. Give the job a larger volume (VolumeSizeInGB), or lower lora_rank."


class JobError(Exception):
    """An error that a person can fix. Its message says what happened and what to do, without story text."""


@dataclass(frozen=True)
class TrainingPaths:
    """Folders of a training job, from the `SM_*` variables, or SageMaker's defaults under `/opt/ml`."""

    hyperparameters: Path
    train: Path
    validation: Path
    base_model: Path
    model: Path
    """The job's result: SageMaker uploads what is written here."""
    checkpoints: Path
    """SageMaker copies this folder to S3 and restores it after a spot interruption."""
    tensorboard: Path
    """TensorBoard event files; among the checkpoints, which SageMaker uploads while the job runs."""
    failure: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "TrainingPaths":
        """Read `SM_MODEL_DIR`, `SM_CHANNEL_*` and so on; other folders lie beside `SM_MODEL_DIR`."""
        model = Path(environment.get("SM_MODEL_DIR", "/opt/ml/model"))
        root = model.parent
        config = Path(environment.get("SM_INPUT_CONFIG_DIR", root / "input" / "config"))
        output = Path(environment.get("SM_OUTPUT_DIR", root / "output"))
        checkpoints = Path(environment.get("SM_CHECKPOINT_DIR", root / "checkpoints"))

        def channel(name: str) -> Path:
            return Path(environment.get(f"SM_CHANNEL_{name.upper()}", root / "input" / "data" / name))

        return cls(
            hyperparameters=config / "hyperparameters.json",
            train=channel("train"),
            validation=channel("validation"),
            base_model=channel("model"),
            model=model,
            checkpoints=checkpoints,
            tensorboard=checkpoints / "tensorboard",
            failure=output / "failure",
        )


@dataclass(frozen=True)
class ProcessingPaths:
    """Folders of the evaluation job, under `/opt/ml/processing`."""

    base_model: Path
    candidate: Path
    """Folder with the archive of the training job's model."""
    live: Path
    """Missing if no version is live, or if the live version has another base model."""
    test: Path
    train: Path
    output: Path
    failure: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ProcessingPaths":
        """Read `LOCAL_AWS_PROCESSING_ROOT`, which replaces `/opt/ml/processing` on one machine."""
        root = Path(environment.get("LOCAL_AWS_PROCESSING_ROOT", "/opt/ml/processing"))
        return cls(
            base_model=root / "input" / "model",
            candidate=root / "input" / "candidate",
            live=root / "input" / "live",
            test=root / "input" / "test",
            train=root / "input" / "train",
            output=root / "output",
            failure=root.parent / "output" / "message",
        )


class StopSignal:
    """Records SIGTERM, so that the training loop can stop between two steps and save its state.

    SageMaker sends SIGTERM two minutes before it reclaims a spot instance or ends a stopped job.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Install a handler for SIGTERM; also watch the file that `environment` names in `STOP_FILE`."""
        self._received = False
        path = environment.get(STOP_FILE)
        self._file = Path(path) if path else None
        signal.signal(signal.SIGTERM, self._handle)

    @property
    def received(self) -> bool:
        """Return whether the job should stop as soon as possible."""
        return self._received or (self._file is not None and self._file.exists())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received = True


def run_job(job: Callable[[], int], failure: Path) -> int:
    """Run `job` and return its exit code; turn any error into one message.

    The message is written to the failure file, which SageMaker shows as the reason, and as the last line to
    stderr.
    """
    if STOP_FILE not in os.environ:
        failure.unlink(missing_ok=True)
    try:
        return job()
    except JobError as error:
        message = str(error)
    except Exception as error:
        traceback.print_exc()
        message = _failure_message(error)
        if failure.exists():
            # Another process of this job failed first and wrote the cause; this error is a consequence.
            return 1
    print(message, file=sys.stderr, flush=True)
    try:
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(message.encode()[:FAILURE_BYTES].decode(errors="ignore"), encoding="utf-8")
    except OSError:
        pass  # the disk is full: the message is on the log only
    return 1


def _failure_message(error: Exception) -> str:
    if is_disk_full(error):
        return DISK_FULL
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return "The machine ran out of memory. Choose a smaller base model or a larger instance."
    return f"Unexpected {type(error).__name__}: {first_line(error)}"


def is_disk_full(error: BaseException) -> bool:
    """Check whether an error of any library means that the disk is full."""
    return getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)


def require_free_space(folder: Path, needed_bytes: int) -> None:
    """Check that the folder's disk has room for `needed_bytes`.

    Raises:
        JobError: the disk has less free space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < needed_bytes:
        raise JobError(DISK_FULL)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its type if the text is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def log_metric(name: str, value: float, step: int) -> None:
    """Print `metric train_loss=1.2345 step=10`, the form that the jobs' metric definitions match."""
    print(f"metric {name}={value:.6g} step={step}", flush=True)
