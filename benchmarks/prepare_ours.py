"""Storyloom's side of `prepare`: reads a folder (`read`), or makes a dataset of it (`prepare`).

`prepare` runs it as a separate process, to measure its time and memory. The last line is JSON.
"""

import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contracts.settings_sections import TrainingSettings
from stories.dataset import training_plan
from stories.dataset.assembly import assemble
from stories.reading.file_reader import read_file
from stories.records import Record, Reject, Source

_WARM_UP = {
    "english.txt": "Once upon a time there was a benchmark, and it had loaded everything before it began.\n"
    * 5,
    # text that is not clearly English loads the language identification model
    "deutsch.txt": "Es war einmal ein Vergleich, der hatte alles geladen, bevor er begann.\n" * 5,
}


@dataclass(frozen=True)
class _Model:
    name: str = "smollm2-135m"
    chat: bool = True
    context_length: int = 8192
    parameters_millions: int = 135


def _lines(folder: Path, counts: dict[str, int]) -> Iterator[Record | Reject]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        source = Source(key=str(path.relative_to(folder)), modified_at="2026-01-01T00:00:00.000Z")
        with path.open("rb") as stream:
            for result in read_file(source, stream):
                counts[result.kind] += 1
                yield result


def main() -> None:
    """Measure, and print seconds, peak memory and counts."""
    task, folder = sys.argv[1], Path(sys.argv[2])
    for name, text in _WARM_UP.items():
        list(read_file(Source(key=name), io.BytesIO(text.encode())))
    counts = {"record": 0, "reject": 0}
    begin = time.perf_counter()
    lines = _lines(folder, counts)
    if task == "read":
        with tempfile.TemporaryFile() as written:
            for line in lines:
                written.write(line.model_dump_json().encode() + b"\n")
    else:
        options = training_plan.dataset_options(
            "bench", _Model(), TrainingSettings(minimum_words=1, max_training_minutes=60)
        )
        with tempfile.TemporaryDirectory(dir=folder.parent) as dataset:
            report = assemble(lines, options, Path(dataset))
            counts["stories"] = report.stories
    seconds = time.perf_counter() - begin
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, **counts}))


if __name__ == "__main__":
    main()
