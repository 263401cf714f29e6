"""A training job's folders, with a tiny model and a few tales in them."""

import json
import signal
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from storyloom_jobs.artifacts import MODEL_ARCHIVE
from storyloom_jobs.container import TrainingPaths
from tests.unit.tiny_model import chat_example, save_tiny_model, write_examples

CODE = Path(__file__).resolve().parents[3] / "training_code"
"""The jobs' `code` channel."""

TALES = ["the sea took the bell and the bell sang on " * n for n in range(1, 4)]


@dataclass
class Job:
    """Replaces `/opt/ml` in a test."""

    root: Path

    @property
    def paths(self) -> TrainingPaths:
        return TrainingPaths.from_environment({"SM_MODEL_DIR": str(self.root / "model")})

    def settings(self, **values: Any) -> None:
        config = self.root / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        strings = {name: str(value) for name, value in values.items()}
        (config / "hyperparameters.json").write_text(json.dumps(strings), encoding="utf-8")

    def result(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.root / "model" / "training.json").read_text())
        return content

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.root / "model" / "metrics.jsonl").read_text().splitlines()]


SMALL: dict[str, Any] = {
    "precision": "fp32",
    "sequence_length": 160,
    "batch_tokens": 320,
    "lora_rank": 4,
    "learning_rate": 0.02,
}


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base"))


def make_job(root: Path, base_model: Path) -> Job:
    data = root / "input" / "data"
    write_examples(data / "train", [chat_example(n, TALES[n % 3]) for n in range(12)])
    write_examples(data / "validation", [chat_example(n, TALES[n % 3]) for n in range(20, 23)])
    (data / "model").symlink_to(base_model)
    job = Job(root)
    job.settings(**SMALL, epochs=3)
    return job


def archive_model(model: Path, into: Path) -> None:
    """Write the archive that SageMaker makes of a training job's model folder."""
    into.mkdir(parents=True, exist_ok=True)
    with tarfile.open(into / MODEL_ARCHIVE, "w:gz") as archive:
        for path in sorted(model.iterdir()):
            archive.add(path, arcname=path.name)


@pytest.fixture
def job(tmp_path: Path, base_model: Path) -> Job:
    return make_job(tmp_path / "ml", base_model)


@pytest.fixture(autouse=True)
def _own_signal_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Use one thread, because products this small are slower on two."""
    torch.set_num_threads(1)
