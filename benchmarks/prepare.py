"""Measures how fast files become a dataset, how time and memory grow, and how other tools compare.

    python -m benchmarks.prepare [--quick] [--stories FOLDER] [--others PYTHON]

Every measurement is a separate process; compared tools run in turns, on the same files.
"""

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus import Corpus

CHECKOUT = Path(__file__).resolve().parent.parent
SMALL_FILE = 2_000
"""Characters of a short story."""
NOVEL = 500_000
"""Characters of a novel."""
MAX_EXPONENT = 1.1
"""The largest exponent that still counts as linear growth."""
MAX_MEMORY_RATIO = 1.2
"""Memory of the largest corpus, at most, as a multiple of the smallest one's."""
TURNS = 3


@dataclass(frozen=True)
class CorpusSizes:
    """Sizes to measure."""

    files: tuple[int, ...]
    """Numbers of short stories."""
    megabytes: tuple[int, ...]
    """Megabytes of novels."""
    compared: dict[str, tuple[int, int]]
    """Files to compare with other tools, by suffix: their number, and the characters of each."""


FULL = CorpusSizes(
    files=(100, 1_000, 10_000),
    megabytes=(1, 10, 100, 500),
    compared={
        ".txt": (300, 20_000),
        ".jsonl": (20, 400_000),
        ".html": (60, 100_000),
        ".docx": (30, 100_000),
        ".epub": (30, 100_000),
        ".pdf": (15, 50_000),
    },
)
QUICK = CorpusSizes(
    files=(100, 1_000),
    megabytes=(1, 5, 20),
    compared={suffix: (max(2, files // 5), size) for suffix, (files, size) in FULL.compared.items()},
)


def measure(python: str, script: str, task: str, folder: Path, *more: Path) -> dict[str, Any]:
    """Run one measurement in a separate process; return the JSON object that it printed last."""
    command = [python, "-m", f"benchmarks.{script}", task, str(folder), *map(str, more)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of seconds over size, both as logarithms: 1 is linear, 2 is quadratic."""
    return statistics.linear_regression([math.log(x) for x in sizes], [math.log(y) for y in seconds]).slope


def growth(corpus: Corpus, scratch: Path, cases: Sequence[tuple[str, int, int]]) -> list[dict[str, Any]]:
    """Prepare growing numbers of files; each case is a label, a number of files and their characters."""
    rows = []
    print("| corpus | MB | read, s | prepare, s | files/s | MB/s | peak of read, MB | of prepare, MB |")
    print("|---|---|---|---|---|---|---|---|")
    for label, files, size in cases:
        folder = scratch / "grown" / "stories"
        megabytes = corpus.write(folder, ".txt", files, size) / 1e6
        read = measure(sys.executable, "prepare_ours", "read", folder)
        whole = measure(sys.executable, "prepare_ours", "prepare", folder)
        shutil.rmtree(folder.parent)
        seconds = whole["seconds"]
        rows.append({"files": files, "megabytes": megabytes, "read": read, "prepare": whole})
        print(
            f"| {label} | {megabytes:.1f} | {read['seconds']:.1f} | {seconds:.1f} | {files / seconds:.0f} "
            f"| {megabytes / seconds:.2f} | {read['peak_mb']:.0f} | {whole['peak_mb']:.0f} |",
            flush=True,
        )
    return rows


def compare(corpus: Corpus, scratch: Path, others: str, cases: dict[str, tuple[int, int]]) -> list[float]:
    """Measure both sides in turns on the same files; return how many times as fast we are, by suffix."""
    ratios = []
    print(
        "\n| files | MB | compared with | theirs, s | ours, s | we are faster by | peak: theirs, ours, MB |"
    )
    print("|---|---|---|---|---|---|---|")
    for suffix, (files, size) in cases.items():
        folder = scratch / f"compared{suffix}" / "stories"
        warm = scratch / f"warm{suffix}"
        megabytes = corpus.write(folder, suffix, files, size) / 1e6
        corpus.write(warm, suffix, 1, 2_000)
        [warm_up] = warm.iterdir()
        rival = "datasets" if suffix in {".txt", ".jsonl"} else "markitdown"
        ours, theirs = [], []
        for _ in range(TURNS):
            ours.append(measure(sys.executable, "prepare_ours", "read", folder))
            theirs.append(measure(others, "prepare_peers", rival, folder, warm_up))
        own, their = (statistics.median(run["seconds"] for run in runs) for runs in (ours, theirs))
        peaks = [max(run["peak_mb"] for run in runs) for runs in (theirs, ours)]
        ratios.append(their / own)
        print(
            f"| {files} {suffix} | {megabytes:.1f} | {rival} | {their:.2f} | {own:.2f} "
            f"| {their / own:.1f} | {peaks[0]:.0f}, {peaks[1]:.0f} |",
            flush=True,
        )
    return ratios


def main() -> None:
    """Measure everything; exit with 0 if the promises hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, about two minutes")
    parser.add_argument(
        "--stories", type=Path, default=CHECKOUT / "sample_stories", help="text to make files of"
    )
    parser.add_argument("--others", help="Python that has benchmarks/requirements.txt; none: no comparison")
    given = parser.parse_args()
    sizes = QUICK if given.quick else FULL
    corpus = Corpus(given.stories)
    with tempfile.TemporaryDirectory(prefix="storyloom-bench-") as temporary:
        scratch = Path(temporary)
        many = growth(
            corpus, scratch, [(f"{count} short stories", count, SMALL_FILE) for count in sizes.files]
        )
        novels = [(f"{count} MB of novels", max(1, count * 2), NOVEL) for count in sizes.megabytes]
        large = growth(corpus, scratch, novels)
        steepness = {
            "files": exponent([row["files"] for row in many], [row["prepare"]["seconds"] for row in many]),
            "megabytes": exponent(
                [row["megabytes"] for row in large], [row["prepare"]["seconds"] for row in large]
            ),
        }
        print("\nexponents: " + ", ".join(f"{name} {slope:.2f}" for name, slope in steepness.items()))
        ratios = compare(corpus, scratch, given.others, sizes.compared) if given.others else []
    failures = [
        f"time grows with {name} to the power of {slope:.2f}"
        for name, slope in steepness.items()
        if slope > MAX_EXPONENT
    ]
    for name, rows in (("files", many), ("megabytes", large)):
        peaks = [row["prepare"]["peak_mb"] for row in rows]
        if max(peaks) > MAX_MEMORY_RATIO * peaks[0]:
            failures.append(f"memory grows with {name}: from {peaks[0]:.0f} to {max(peaks):.0f} MB")
    failures += [f"slower than another: {ratio:.2f} times its speed" for ratio in ratios if ratio < 1]
    print(json.dumps({"exponents": steepness, "ratios": ratios, "failures": failures}))
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
