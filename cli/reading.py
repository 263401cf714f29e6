"""Reads a folder's files as the pipeline would, with as many processes as there is work for."""

from __future__ import annotations

import os
import queue
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter

from stories.file_rules import cannot_open, too_large
from stories.reading.sandbox import ReadingProcess
from stories.records import Record, Reject, Source

Line = Record | Reject

# A process takes a second to start and to import; less text than this is read sooner than that.
_WORTH_A_PROCESS_BYTES = 3 * 1024**2
_IN_MEMORY_BYTES = 1024**2
_AHEAD = 50
"""Files that each process may have read before what was found in them is fetched."""
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


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
) -> Generator[Line, None, None]:
    """Yield every record and reject of some files, in no particular order.

    Args:
        files: what to read.
        on_bytes: told how many bytes of files have been read since it was last told.
        folder: where what a large file gave may lie until it is fetched.
    """
    waiting = sorted(files, key=lambda file: -file.size)
    worth = sum(file.size for file in waiting) // _WORTH_A_PROCESS_BYTES
    count = max(1, min(os.cpu_count() or 1, worth))
    reading = _Reading(waiting, folder, count)
    with _at_work(reading, count):
        for _ in waiting:
            file, found = reading.next_result()
            with found:
                found.seek(0)
                for line in found:
                    yield _LINE.validate_json(line)
            on_bytes(file.size)


class _Reading:
    """Files that wait to be read, and what was found in those that were."""

    def __init__(self, files: list[StoryFile], folder: Path, processes: int) -> None:
        self._folder = folder
        self._processes = processes
        self._waiting = iter(files)
        self._lock = threading.Lock()
        self._found: queue.Queue[tuple[StoryFile, IO[bytes]] | BaseException] = queue.Queue()
        self._room = threading.Semaphore(_AHEAD * processes)
        self._is_over = threading.Event()

    def next_result(self) -> tuple[StoryFile, IO[bytes]]:
        """Wait for the next file that has been read; returns what was found, to be closed."""
        found = self._found.get()
        self._room.release()
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

    def give_up(self) -> None:
        """Let nobody begin another file."""
        self._is_over.set()
        self._room.release(self._processes)

    def _take(self) -> StoryFile | None:
        self._room.acquire()
        with self._lock:
            return None if self._is_over.is_set() else next(self._waiting, None)


@contextmanager
def _at_work(reading: _Reading, count: int) -> Iterator[None]:
    """Have so many processes read; whatever ends the block early ends them at once."""
    processes = [ReadingProcess(log=False) for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        try:
            for process in processes:
                pool.submit(reading.work, process)
            yield
        finally:
            reading.give_up()
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
