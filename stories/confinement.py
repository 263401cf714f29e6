"""Reads each file in another process, which has a limit of time and of memory and no credentials.

A file that takes too much, or crashes its reader, costs itself: it is rejected with its reason, and the next
one is read by a new process. An ordinary file costs no more than the way through a pipe.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from pydantic import BaseModel

from stories.errors import TOO_MUCH_MEMORY
from stories.limits import longest_seconds
from stories.models import Reject, Source

END_OF_FILE = b"#"
"""Begins the line after a file's last record or reject."""
_PROGRAM = "stories.reading_process"
# What the library's parsers keep of a large file is given back by ending the process.
_LARGEST_IDLE_KILOBYTES = 512 * 1024
_CLOCK_SECONDS_A_PROCESSOR_SECOND = 10
"""A process gets a tenth of a processor even on a busy machine; one that waits for something gets none."""
_AS_TEXT = "Save it as plain text (.txt, UTF-8) and drop it again, or leave it out."
_BROKEN = ("It is built in a way that breaks its reader.", _AS_TEXT)
_KILLED = ("The system stopped its reader, most likely because memory was short.", TOO_MUCH_MEMORY[1])


class Request(BaseModel):
    """One file to read, as the process is asked for it."""

    source: Source
    file: str
    """Where it is on this machine: its path's bytes as Latin-1, since not every path is text."""
    seconds: int
    """Of a processor, that reading it may take. The system ends the process (SIGXCPU) when they are over."""


class OutOfTimeError(Exception):
    """The caller's own time was over before a file's: nothing is known of the file yet."""


class ClosedError(Exception):
    """The process was closed while, or before, it was to read a file."""


class ReadingProcess:
    """A process that reads files for us, one at a time; it is started when it is needed."""

    def __init__(self, *, log: bool) -> None:
        """Start nothing yet.

        Args:
            log: whether what it logs goes where our own log goes (standard error), or nowhere.
        """
        self._log = log
        self._is_closed = False
        self._process: subprocess.Popen[bytes] | None = None

    def read(
        self,
        source: Source,
        file: Path,
        size: int,
        to: IO[bytes],
        most_seconds: float = math.inf,
        *,
        is_final: bool = True,
    ) -> None:
        """Read a file: its records and rejects are written to `to`, one a line.

        A file whose reader is stopped gives one reject and nothing else. Unless its time was over, a new
        process tries once more before that: what stopped the first one may not have been the file's fault.

        Args:
            source: where the file came from.
            file: where it is on this machine.
            size: its bytes.
            to: seekable; written to at its present position.
            most_seconds: how long the caller can wait, by the clock.
            is_final: whether a file is rejected that takes longer than that; else it is to be tried again.

        Raises:
            OutOfTimeError: the caller's time was over, nothing was written, and it is not final.
            ClosedError: `close` was called.
        """
        seconds = longest_seconds(size)
        patience = min(most_seconds, seconds * _CLOCK_SECONDS_A_PROCESSOR_SECOND)
        until = time.monotonic() + patience
        request = Request(source=source, file=os.fsencode(file).decode("latin-1"), seconds=seconds)
        start = to.tell()
        for is_last in (False, True):
            status = self._ask(request, to, until - time.monotonic())
            if status is None:
                return
            if self._is_closed:
                raise ClosedError
            to.seek(start)
            to.truncate()
            if status == _TIME_IS_UP and patience == most_seconds and not is_final:
                raise OutOfTimeError
            if is_last or status in {_TIME_IS_UP, -signal.SIGXCPU}:
                to.write(_reject(source, status, seconds).model_dump_json().encode() + b"\n")
                return

    def close(self) -> None:
        """End the process, whatever it is doing, and start no other; also called by another thread."""
        self._is_closed = True
        process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        process.wait()

    def _ask(self, request: Request, to: IO[bytes], wait: float) -> int | None:
        """Return None if the file was read, else how the process ended."""
        if self._is_closed:
            raise ClosedError
        process = self._process = self._process or self._start()
        assert process.stdin and process.stdout  # noqa: S101 - for the type checker
        time_is_up = threading.Event()

        def stop() -> None:
            time_is_up.set()
            process.kill()

        watch = threading.Timer(wait, stop)
        watch.daemon = True
        watch.start()
        try:
            process.stdin.write(request.model_dump_json().encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith(END_OF_FILE):
                    if int(line[1:]) > _LARGEST_IDLE_KILOBYTES:
                        self._end()
                    return None
                to.write(line)
        except BrokenPipeError:
            pass
        finally:
            watch.cancel()
        status = process.wait()
        self._end()
        return _TIME_IS_UP if time_is_up.is_set() else status

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if self._log else subprocess.DEVNULL,
            env=_environment(),
            # Ctrl-C in a terminal is for us alone: it ends when its input does.
            start_new_session=True,
        )


_TIME_IS_UP = -signal.NSIG
"""No signal has this number."""


def _environment() -> dict[str, str]:
    """Return what Python needs to start, and no credentials: the file may be anybody's."""
    needed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH", "TMPDIR") if name in os.environ}
    # numpy's threads would each reserve memory, and have nothing to do.
    return needed | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}


def _reject(source: Source, status: int, seconds: int) -> Reject:
    if status in {_TIME_IS_UP, -signal.SIGXCPU}:
        reason, cure = f"Reading it takes longer than {seconds} seconds.", TOO_MUCH_MEMORY[1]
    elif status == -signal.SIGKILL:
        reason, cure = _KILLED
    else:
        reason, cure = _BROKEN
    return Reject(source_key=source.key, source_version=source.version, reason=reason, cure=cure)
