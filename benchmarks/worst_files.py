"""Measures the files that once took longest, at one size and at twice that size, and the cost of confinement.

    python -m benchmarks.worst_files

Each file is created now and read in this process; the processor time counts. Then short stories are read
in this process and in the reading process, which limits the time and memory of a file.
"""

import io
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from fpdf import FPDF

from benchmarks.corpus import Corpus
from stories.dataset.names import find_names
from stories.dataset.passages import passages
from stories.dataset.windows import cut_windows
from stories.reading.file_reader import read_file
from stories.reading.sandbox import ReadingProcess
from stories.records import Source

CHECKOUT = Path(__file__).resolve().parent.parent
_PROSE = "The lantern in the harbour went out before the ship had come in, and nobody saw."
_TIMEOUT_SECONDS = 120
_SHORT_STORIES = 500


class _TooSlowError(BaseException):
    """A file took longer than the time limit."""


def _letters(size: int) -> bytes:
    """Make a PDF of one page with single letters, some of them large."""
    page = FPDF(unit="pt", format=(600, 800))
    page.add_page()
    for number in range(size // 12):
        page.set_font("helvetica", size=9 if number % 3 else 20)
        page.text(30 + number * 37 % 500, 20 + number * 7 % 770, "A")
    return bytes(page.output())


def _read(name: str) -> Callable[[bytes], object]:
    return lambda content: list(read_file(Source(key=name), io.BytesIO(content)))


def _prepare(content: bytes) -> None:
    text = content.decode()
    cut_windows(text, 2000, "en")
    passages(text)
    find_names(text, "en")


def _times(unit: str) -> Callable[[int], bytes]:
    return lambda size: (unit * (size // len(unit.encode()))).encode()


CASES: dict[str, tuple[Callable[[bytes], object], Callable[[int], bytes], int]] = {
    "`Contents` and an empty line": (_read("a.txt"), _times("Contents\n\n"), 150_000),
    "tables and prose": (
        _read("a.txt"),
        lambda size: "".join(
            "".join(f"The Door {n} of {k} .... {n + k}\n" for k in range(4)) + f"\n{_PROSE}\n\n"
            for n in range(size // 180)
        ).encode(),
        150_000,
    ),
    "PDF of single letters": (_read("a.pdf"), _letters, 30_000),
    "accents in disorder": (_read("a.txt"), _times("\u0301\u0327"), 150_000),
    "a bracket and spaces": (_read("a.txt"), lambda size: b"[" + b" " * size + b"a", 150_000),
    "CSV wider than long": (
        _read("a.csv"),
        lambda size: b"text," + b"x," * (size // 4) + b"\n" + b"a\n" * (size // 4),
        150_000,
    ),
    "JSON: a long text, then numbers": (
        _read("a.json"),
        lambda size: b'["' + b"a " * size + b'"' + b",1" * (size // 2) + b"]",
        1_500_000,
    ),
    "full stops (windows, passages)": (_prepare, _times("."), 150_000),
    "`a-a-a-` (names)": (_prepare, _times("a-"), 150_000),
    "prose": (_read("a.txt"), _times(f"{_PROSE} {_PROSE}\n\n"), 1_500_000),
}


@contextmanager
def _limit() -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise _TooSlowError

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, _TIMEOUT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _seconds(work: Callable[[bytes], object], content: bytes) -> str:
    started = time.process_time()
    try:
        with _limit():
            work(content)
    except _TooSlowError:
        return f"over {_TIMEOUT_SECONDS}"
    return f"{time.process_time() - started:.2f}"


def _confined(folder: Path) -> None:
    files = sorted(folder.iterdir())
    started = time.perf_counter()
    for file in files:
        with file.open("rb") as stream:
            list(read_file(Source(key=file.name), stream))
    alone = time.perf_counter() - started
    process = ReadingProcess(log=False)
    process.read(Source(key="warm.txt"), files[0], 1, io.BytesIO())
    started = time.perf_counter()
    for file in files:
        process.read(Source(key=file.name), file, file.stat().st_size, io.BytesIO())
    confined = time.perf_counter() - started
    process.close()
    print(f"\n{len(files)} short stories: {alone:.2f} s here, {confined:.2f} s in the reading process")


def main() -> None:
    """Measure all cases, and print a table."""
    _read("warm.txt")(_PROSE.encode() * 20)
    print("| file | kB | s | s at twice the size |\n|---|---|---|---|")
    for what, (work, make, size) in CASES.items():
        once, twice = make(size), make(2 * size)
        print(
            f"| {what} | {len(once) // 1000} | {_seconds(work, once)} | {_seconds(work, twice)} |", flush=True
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "stories"
        Corpus(CHECKOUT / "sample_stories").write(folder, ".txt", _SHORT_STORIES, 2_000)
        _confined(folder)


if __name__ == "__main__":
    main()
