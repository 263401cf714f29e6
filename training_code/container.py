"""SageMaker's container contract: where things are, how a job ends, and how it tells why it failed."""

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
"""Exit code of a job that was told to stop and saved its state."""

FAILURE_BYTES = 1024
"""SageMaker shows this much of a training job's failure file, and of a processing job's exit message."""

STOP_FILE = "STORYLOOM_STOP_FILE"
"""Environment variable: the file whose appearance stands for SIGTERM in a process that a launcher started."""

DISK_FULL = "The job's disk is full. Give the job a larger volume (VolumeSizeInGB), or lower lora_rank."


class JobError(Exception):
    """Something a person can mend. The message says what, where and how; it never quotes a story."""


@dataclass(frozen=True)
class TrainingPaths:
    """The folders of a training job: `SM_*` variables where set, else SageMaker's own under `/opt/ml`."""

    hyperparameters: Path
    train: Path
    validation: Path
    base_model: Path
    model: Path
    """What is written here is the job's result."""
    checkpoints: Path
    """Kept in step with S3 by SageMaker; comes back after a spot interruption."""
    tensorboard: Path
    """Event files, among the checkpoints: SageMaker uploads them while the job runs."""
    failure: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "TrainingPaths":
        """Read `SM_MODEL_DIR`, `SM_CHANNEL_*`, …; what they leave out lies beside them as in `/opt/ml`."""
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
    """The folders of the evaluation job, under `/opt/ml/processing`."""

    base_model: Path
    candidate: Path
    """Holds the archive of the training job's model."""
    live: Path
    """Absent when no model is live yet, or the live one has another base."""
    test: Path
    train: Path
    output: Path
    failure: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ProcessingPaths":
        """`LOCAL_AWS_PROCESSING_ROOT` stands for `/opt/ml/processing` where it is set."""
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
    """Remembers that SIGTERM came, so that the loop can end at a place where its state is whole.

    SageMaker sends SIGTERM two minutes before it takes a spot machine away or ends a stopped job.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Takes over SIGTERM; a launcher says it with a file, which `environment` names."""
        self._told = False
        named = environment.get(STOP_FILE)
        self._file = Path(named) if named else None
        signal.signal(signal.SIGTERM, self._remember)

    @property
    def received(self) -> bool:
        """Whether to stop as soon as it can be done."""
        return self._told or (self._file is not None and self._file.exists())

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._told = True


def run_job(job: Callable[[], int], failure: Path) -> int:
    """Run `job` and return its exit code; turn whatever goes wrong into one clear message.

    The message goes to the failure file, which SageMaker shows as the reason, and is the last line on stderr.
    """
    if STOP_FILE not in os.environ:
        failure.unlink(missing_ok=True)
    try:
        return job()
    except JobError as error:
        message = str(error)
    except Exception as error:
        traceback.print_exc()
        message = _words_for(error)
        if failure.exists():
            # Another of this job's processes has said what is wrong, and this error comes of it.
            return 1
    print(message, file=sys.stderr, flush=True)
    try:
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(message.encode()[:FAILURE_BYTES].decode(errors="ignore"), encoding="utf-8")
    except OSError:
        pass  # on a full disk the log has to do
    return 1


def _words_for(error: Exception) -> str:
    if is_disk_full(error):
        return DISK_FULL
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return "The machine ran out of memory. Choose a smaller base model or a larger instance."
    return f"Unexpected {type(error).__name__}: {first_line(error)}"


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, of whatever library, means that."""
    return getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)


def require_room(folder: Path, needed: int) -> None:
    """Make sure that `needed` bytes can be written into the folder.

    Raises:
        JobError: the disk has less room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < needed:
        raise JobError(DISK_FULL)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type's name when it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
