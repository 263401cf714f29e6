"""Reads a folder's files as the pipeline would, with as many processes as there is work for."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from cli.errors import CommandError
from stories.limits import too_large
from stories.models import Record, Reject, Source
from stories.reading import read_file

Line = Record | Reject

_BATCH_FILES = 50
_BATCH_BYTES = 1024**2
# A process takes a second to start and to import; less text than this is read sooner than that.
_WORTH_A_PROCESS_BYTES = 3 * 1024**2
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
        folder: where processes may put what they read until it is fetched.
    """
    waiting = sorted(files, key=lambda file: -file.size)
    processes = min(os.cpu_count() or 1, sum(file.size for file in waiting) // _WORTH_A_PROCESS_BYTES)
    if processes < 2:
        for file in waiting:
            yield from _read(file)
            on_bytes(file.size)
        return
    yield from _read_in_processes(list(_batches(waiting)), processes, on_bytes, folder)


def _batches(files: Iterable[StoryFile]) -> Iterator[list[StoryFile]]:
    batch: list[StoryFile] = []
    size = 0
    for file in files:
        if batch and (len(batch) == _BATCH_FILES or size + file.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def _read_in_processes(
    batches: list[list[StoryFile]], processes: int, on_bytes: Callable[[int], None], folder: Path
) -> Iterator[Line]:
    under_way: dict[Future[None], tuple[list[StoryFile], Path]] = {}
    with _pool(processes) as pool:
        with interrupts_held_back():
            for number, batch in enumerate(batches):
                lines = folder / f"{number}.jsonl"
                under_way[pool.submit(_read_batch, batch, lines)] = (batch, lines)
        for done in as_completed(under_way):
            batch, lines = under_way[done]
            try:
                done.result()
            except BrokenProcessPool as error:
                raise _stopped(under_way.values()) from error
            yield from _fetch(lines)
            on_bytes(sum(file.size for file in batch))


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Hold processes; whatever ends the block early ends them at once, and waits until the pool has noticed.

    Unless waited for, the thread that looks after the pool closes its pipe while Python, on its way out,
    writes into it, and a traceback follows the last word.
    """
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let processes that start meanwhile be deaf to Ctrl-C, which a terminal sends to all: we end them.

    One that comes meanwhile is not lost: it arrives when the block is over, or at another thread at once.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where processes inherit nothing of the kind
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stopped(under_way: Iterable[tuple[list[StoryFile], Path]]) -> CommandError:
    """Name the files whose reading had begun when the system ended a process, most likely for its memory."""
    begun = [file.path.name for batch, lines in under_way if lines.exists() for file in batch]
    return CommandError(
        f"The system stopped a reading process in the middle of: {', '.join(begun[:5])}"
        f"{' and others' if len(begun) > 5 else ''}.",
        "Close other programs, for this machine may be short of memory; or take the largest of them out.",
    )


def _read_batch(batch: list[StoryFile], lines: Path) -> None:
    """Read some files in a process of its own; what they gave goes into the file `lines`."""
    quieten()
    with lines.open("wb") as target:
        for file in batch:
            for line in _read(file):
                target.write(line.model_dump_json().encode() + b"\n")


def _fetch(lines: Path) -> Iterator[Line]:
    with lines.open("rb") as found:
        for line in found:
            yield _LINE.validate_json(line)
    lines.unlink()


def _read(file: StoryFile) -> Iterator[Line]:
    try:
        modified = datetime.fromtimestamp(file.path.stat().st_mtime, UTC)
        source = Source(key=file.key, modified_at=modified.isoformat(timespec="milliseconds"))
        refused = too_large(source, file.size)
        if refused:
            yield refused
            return
        with file.path.open("rb") as content:
            yield from read_file(source, content)
    except OSError as error:
        reason = f"It could not be opened: {error.strerror or 'the system gave no reason'}."
        cure = "See to it that you may read it, or take it out of the folder."
        yield Reject(source_key=file.key, source_version="", reason=reason, cure=cure)


def quieten() -> None:
    """Keep the library's log off the terminal: what it says stands in the report, in better words."""
    logging.getLogger("stories").addHandler(logging.NullHandler())
    logging.getLogger("stories").propagate = False
