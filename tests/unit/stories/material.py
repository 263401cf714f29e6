"""Helpers that make files and read them."""

import io
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

from stories.dataset.assembly import assemble
from stories.dataset.training_plan import DatasetOptions
from stories.reading.file_reader import read_file
from stories.records import Record, Reject, Source
from stories.report.data_report import DataReport

Files = Mapping[str, bytes]
Lines = list[Record | Reject]

_SYLLABLES = ("ba", "lo", "ki", "men", "tar", "su", "ve", "dor", "pi", "ran", "gol", "es")


def read(key: str, content: bytes, modified_at: str = "2026-09-01T00:00:00.000Z") -> Lines:
    """Read one file."""
    return list(read_file(Source(key=key, version="1", modified_at=modified_at), io.BytesIO(content)))


def read_all(files: Files) -> Lines:
    """Read several files of the same age."""
    return [line for key, content in files.items() for line in read(key, content)]


def only_record(lines: Lines) -> Record:
    """Return the only record; fail if there is a reject or another record."""
    (record,) = lines
    assert isinstance(record, Record), record
    return record


def only_reject(lines: Lines) -> Reject:
    """Return the only reject; fail if there is a record or another reject."""
    (reject,) = lines
    assert isinstance(reject, Reject), reject
    return reject


def prose(seed: int, words: int = 600) -> str:
    """Make paragraphs of an invented language; texts of two seeds share hardly any five words in a row."""
    draw = random.Random(seed)  # noqa: S311
    made = ["".join(draw.choices(_SYLLABLES, k=draw.randint(1, 3))) for _ in range(words)]
    sentences = [" ".join(made[start : start + 12]).capitalize() + "." for start in range(0, words, 12)]
    return "\n\n".join(" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5))


def zipped(files: Mapping[str, bytes] | Mapping[str | zipfile.ZipInfo, bytes]) -> bytes:
    """Pack files into a zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def options(**changes: object) -> DatasetOptions:
    """Return options for a small chat model, with a test's changes."""
    settings: dict[str, object] = {
        "run_id": "20260901-000000-abcd",
        "chat": True,
        "sequence_length": 512,
        "epochs": 4,
        "minimum_words": 5000,
        "parameters_millions": 135,
        "instance": "ml.g6.xlarge",
        "max_minutes": 240,
        "usd_per_hour": 1.13,
        "price_month": "2026-09",
        "price_source": "AWS's price list of us-east-1",
    }
    return DatasetOptions(**(settings | changes))  # type: ignore[arg-type]


Assembled = tuple[DataReport, dict[str, bytes]]


def assemble_into(folder: Path, lines: Lines, **changes: object) -> Assembled:
    """Assemble records and rejects in an empty folder; return the report and the files."""
    report = assemble(lines, options(**changes), folder)
    parts = {path.parent.name: path.read_bytes() for path in sorted(folder.glob("*/examples.jsonl"))}
    return report, parts
