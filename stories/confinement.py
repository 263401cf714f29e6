"""Read each file in a separate process with limits on time and memory and without credentials.

A file that exceeds a limit or crashes the process is rejected with its reason, and a new process reads the
next one. For an ordinary file the only overhead is a round trip through a pipe.
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
"""The first byte of the line after a file's last record or reject."""
_PROGRAM = "stories.reading_process"
# Parsers keep memory after a large file; only ending the process returns it.
_LARGEST_IDLE_KILOBYTES = 512 * 1024
_CLOCK_SECONDS_A_PROCESSOR_SECOND = 10
"""A working process gets at least a tenth of a processor, even on a busy machine; a waiting one uses none."""
_AS_TEXT = "Save it as plain text (.txt, UTF-8) and drop it again, or leave it out."
_BROKEN = ("Its content crashes the program that reads it.", _AS_TEXT)
_KILLED = (
    "The operating system stopped the program that reads it, most likely because memory ran out.",
    TOO_MUCH_MEMORY[1],
)


class Request(BaseModel):
    """A request to the process to read one file."""

    source: Source
    file: str
    """Its path on this machine; the path's bytes are decoded as Latin-1, because not every path is UTF-8."""
    seconds: int
    """The limit of processor time; the operating system ends the process (SIGXCPU) when it is exceeded."""


class DeadlineExceededError(Exception):
    """The caller's time was over before the file's own limit, so the file may still be readable."""


class ClosedError(Exception):
    """The process was closed before it had read the file."""


class ReadingProcess:
    """A process that reads files one at a time, started when it is first needed."""

    def __init__(self, *, log: bool) -> None:
        """Prepare the process without starting it.

        Args:
            log: whether the process logs to this process's standard error; otherwise its log is discarded.
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
        """Read a file, and write its records and rejects to `to`, one per line.

        If the process ends while it reads the file, the result is a single reject. Unless the time limit was
        exceeded, a new process tries once more first, because the file may not have been at fault.

        Args:
            source: where the file came from.
            file: its path on this machine.
            size: its size in bytes.
            to: a seekable file, written to at its current position.
            most_seconds: how long the caller can wait, in wall-clock time.
            is_final: whether to reject a file that takes longer than that, instead of raising an error.

        Raises:
            DeadlineExceededError: the caller's time was over, and `is_final` is false; nothing was written.
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
                raise DeadlineExceededError
            if is_last or status in {_TIME_IS_UP, -signal.SIGXCPU}:
                to.write(_reject(source, status, seconds).model_dump_json().encode() + b"\n")
                return

    def close(self) -> None:
        """Kill the process and start no other; another thread may call this while a file is read."""
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
        """Send a request to the process; returns None if the file was read, else the exit status."""
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
            # Ctrl-C in a terminal must reach only this process; the other ends when its input does.
            start_new_session=True,
        )


_TIME_IS_UP = -signal.NSIG
"""Stands for the wall-clock limit; no signal has this number."""


def _environment() -> dict[str, str]:
    """Return the variables that Python needs, without credentials, because the file is untrusted."""
    needed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH", "TMPDIR") if name in os.environ}
    # Each of numpy's threads would reserve memory, and reading uses none of them.
    return needed | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}


def _reject(source: Source, status: int, seconds: int) -> Reject:
    if status in {_TIME_IS_UP, -signal.SIGXCPU}:
        reason, cure = f"Reading it takes longer than {seconds} seconds.", TOO_MUCH_MEMORY[1]
    elif status == -signal.SIGKILL:
        reason, cure = _KILLED
    else:
        reason, cure = _BROKEN
    return Reject(source_key=source.key, source_version=source.version, reason=reason, cure=cure)
