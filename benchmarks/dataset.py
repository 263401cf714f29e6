"""Makes the dataset that the pipeline would make of a folder of stories."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contracts.settings_sections import TrainingSettings
from stories.dataset import training_plan
from stories.dataset.assembly import assemble
from stories.reading.file_reader import read_file
from stories.records import Record, Reject, Source
from stories.report.data_report import DataReport


@dataclass(frozen=True)
class SmallModel:
    """The base model on one machine, with the properties that the recipe needs."""

    name: str = "smollm2-135m"
    chat: bool = True
    context_length: int = 8192
    parameters_millions: int = 135


def _lines(folder: Path) -> Iterator[Record | Reject]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        source = Source(key=str(path.relative_to(folder)), modified_at="2026-01-01T00:00:00.000Z")
        with path.open("rb") as stream:
            yield from read_file(source, stream)


def make(stories: Path, into: Path) -> DataReport:
    """Write `train/`, `validation/` and `test/examples.jsonl` of the stories into a folder.

    Raises:
        SystemExit: the folder has no story.
    """
    options = training_plan.dataset_options(
        "bench", SmallModel(), TrainingSettings(minimum_words=1, max_training_minutes=60)
    )
    into.mkdir(parents=True, exist_ok=True)
    report = assemble(_lines(stories), options, into)
    if not report.stories:
        raise SystemExit(f"{stories} has no story. Name a folder of stories with STORIES=folder.")
    return report
