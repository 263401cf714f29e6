"""What the pipeline would make of a folder, found out on the user's own machine (`storyloom check`)."""

from __future__ import annotations

import os
import queue
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from cli.aws.context import ContextError, read_context
from cli.console import CommandError
from cli.stories_folder import story_files
from contracts import settings as app_settings
from stacks import prices
from stories.dataset import training_plan
from stories.dataset.assembly import assemble
from stories.file_rules import cannot_open, too_large
from stories.reading.sandbox import ReadingProcess
from stories.records import Record, Reject, Source
from stories.report.data_report import DataReport

ReadResult = Record | Reject

RUN_ID = "check"
_PRICES_OF = "us-east-1"
"""The region whose prices are shown, because the command does not ask AWS."""

# A process takes a second to start; less text than this is read in that time.
_WORTH_A_PROCESS_BYTES = 3 * 1024**2
_IN_MEMORY_BYTES = 1024**2
_PREFETCHED_FILES = 50
"""Files that each process may have read before what was found in them is fetched."""
_READ_RESULT: TypeAdapter[ReadResult] = TypeAdapter(ReadResult)


def read_settings(checkout: Path, base_model: str, instance: str) -> app_settings.Settings:
    """Read the app's settings from cdk.json, with a base model or an instance in place of its own.

    Raises:
        CommandError: settings are wrong; it lists all of them.
    """
    try:
        context = read_context(checkout)
    except ContextError as error:
        raise CommandError(str(error), error.cure) from error
    if base_model:
        # cdk.json has the commit of another model; the token of a gated model is needed only to deploy it.
        context |= {"base_model": base_model, "base_model_revision": "", "huggingface_token_secret": "later"}
    if instance:
        context["training_instance"] = instance
    # The hosting instance makes no difference to the dataset.
    context["hosting_instance"] = context["training_instance"]
    try:
        return app_settings.read(context)
    except app_settings.SettingsError as error:
        faults = [str(fault) for fault in error.faults if fault.key != "hosting_instance"]
        raise CommandError(
            "\n".join(faults), "Correct them with --base-model and --instance, or in cdk.json."
        ) from error


def check_folder(folder: Path, settings: app_settings.Settings, console: Console) -> DataReport:
    """Read, clean and assemble a folder's files, and report on them as the pipeline would.

    Args:
        folder: of stories, or one file.
        settings: of the app.
        console: where progress is shown.

    Raises:
        CommandError: the folder does not exist or is empty.
    """
    today = date.today().isoformat()
    price = prices.known(settings, "training", settings.training_instance, _PRICES_OF, today)
    files = [StoryFile(path, key, path.stat().st_size) for path, key in story_files(folder)]
    options = training_plan.dataset_options(RUN_ID, settings.model, settings, price)
    with tempfile.TemporaryDirectory(prefix="storyloom-check-") as temporary:
        dataset = Path(temporary) / "dataset"
        read = Path(temporary) / "read"
        dataset.mkdir()
        read.mkdir()
        with _progress(files, console) as bar, closing(read_all(files, bar.advance, read)) as results:
            return assemble(bar.until_all_read(results), options, dataset)


@dataclass
class _ReadingBar:
    """A progress bar of the bytes read, which then names the step after it."""

    progress: Progress
    files: int
    size: int

    def __post_init__(self) -> None:
        self._task = self.progress.add_task(f"reading {self.files:,} files", total=self.size)

    def advance(self, size: int) -> None:
        self.progress.advance(self._task, size)

    def until_all_read(self, results: Iterator[ReadResult]) -> Iterator[ReadResult]:
        yield from results
        self.progress.update(self._task, description="comparing and dividing the stories")


@contextmanager
def _progress(files: list[StoryFile], console: Console) -> Iterator[_ReadingBar]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _ReadingBar(progress, len(files), sum(file.size for file in files))


@dataclass(frozen=True)
class StoryFile:
    """One file of the folder."""

    path: Path
    key: str
    """Its name in the bucket, if it were uploaded."""
    size: int
    """Bytes."""


def read_all(
    files: Iterable[StoryFile], on_bytes: Callable[[int], None], folder: Path
) -> Generator[ReadResult, None, None]:
    """Yield every record and reject of the files, in no particular order.

    Args:
        files: what to read.
        on_bytes: called with the number of bytes of each file that has been read.
        folder: for what was found in large files, until it is yielded.
    """
    waiting = sorted(files, key=lambda file: -file.size)
    worth = sum(file.size for file in waiting) // _WORTH_A_PROCESS_BYTES
    count = max(1, min(os.cpu_count() or 1, worth))
    reading = _ReadingQueue(waiting, folder, count)
    with _reading_processes(reading, count):
        for _ in waiting:
            file, found = reading.next_result()
            with found:
                found.seek(0)
                for line in found:
                    yield _READ_RESULT.validate_json(line)
            on_bytes(file.size)


class _ReadingQueue:
    """Files that wait to be read, and what was found in those that were."""

    def __init__(self, files: list[StoryFile], folder: Path, processes: int) -> None:
        self._folder = folder
        self._processes = processes
        self._waiting = iter(files)
        self._lock = threading.Lock()
        self._found: queue.Queue[tuple[StoryFile, IO[bytes]] | BaseException] = queue.Queue()
        self._capacity = threading.Semaphore(_PREFETCHED_FILES * processes)
        self._is_cancelled = threading.Event()

    def next_result(self) -> tuple[StoryFile, IO[bytes]]:
        """Wait for the next file that has been read; return it with its results, which the caller closes."""
        found = self._found.get()
        self._capacity.release()
        if isinstance(found, BaseException):
            raise found
        return found

    def work(self, process: ReadingProcess) -> None:
        """Read files with one process until there are no more."""
        try:
            while (file := self._take()) is not None:
                found: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115
                    max_size=_IN_MEMORY_BYTES, dir=str(self._folder)
                )
                _read(file, process, found)
                self._found.put((file, found))
        except BaseException as error:
            self._found.put(error)
        finally:
            process.close()

    def cancel(self) -> None:
        """Let no process begin another file."""
        self._is_cancelled.set()
        self._capacity.release(self._processes)

    def _take(self) -> StoryFile | None:
        self._capacity.acquire()
        with self._lock:
            return None if self._is_cancelled.is_set() else next(self._waiting, None)


@contextmanager
def _reading_processes(reading: _ReadingQueue, count: int) -> Iterator[None]:
    """Start `count` processes that read; whatever ends the block early ends them at once."""
    processes = [ReadingProcess(log=False) for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        try:
            for process in processes:
                pool.submit(reading.work, process)
            yield
        finally:
            reading.cancel()
            for process in processes:
                process.close()


def _read(file: StoryFile, process: ReadingProcess, to: IO[bytes]) -> None:
    source = Source(key=file.key)
    try:
        modified = datetime.fromtimestamp(file.path.stat().st_mtime, UTC)
    except OSError as error:
        refused: Reject | None = cannot_open(source, error)
    else:
        source = Source(key=file.key, modified_at=modified.isoformat(timespec="milliseconds"))
        refused = too_large(source, file.size)
    if refused:
        to.write(refused.model_dump_json().encode() + b"\n")
    else:
        process.read(source, file.path, file.size, to)
