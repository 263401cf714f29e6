"""Read each file in a separate process that has a time limit, a memory limit and no credentials.

If a file exceeds a limit or crashes its reader, only that file is rejected, with its reason, and a new
process reads the next one. An ordinary file costs no more than a round trip through a pipe.
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

from stories.file_rules import max_reading_seconds
from stories.records import TOO_MUCH_MEMORY, Reject, Source

END_OF_FILE = b"#"
"""First byte of the line after a file's last record or reject."""
_PROGRAM = "stories.reading.worker"
# Ending the process frees the memory that parsers keep after a large file.
_LARGEST_IDLE_KILOBYTES = 512 * 1024
_CLOCK_SECONDS_A_PROCESSOR_SECOND = 10
"""On a busy machine a process still gets a tenth of a processor; one that waits uses no processor time."""
_AS_TEXT = "Save it as plain text (.txt, UTF-8) and drop it again, or leave it out."
_BROKEN = ("Its content crashes the program that reads it.", _AS_TEXT)
_KILLED = (
    "The operating system stopped the program that reads it, most likely because memory ran out.",
    TOO_MUCH_MEMORY[1],
)


class ReadRequest(BaseModel):
    """One file to read, as it is sent to the process."""

    source: Source
    file: str
    """Its path on this machine: the path's bytes decoded as Latin-1, because not every path is UTF-8."""
    seconds: int
    """Processor time that reading it may take. After that the system ends the process (SIGXCPU)."""


class DeadlineExceededError(Exception):
    """The caller's time ran out before the file's limit; the file may still be readable."""


class ReadingProcessClosedError(Exception):
    """The process was closed before it had read the file."""


class ReadingProcess:
    """A process that reads files, one at a time. It is started when the first file is read."""

    def __init__(self, *, log: bool) -> None:
        """Create the reader without starting a process.

        Args:
            log: whether the process's log goes to our standard error; otherwise it is discarded.
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
        max_seconds: float = math.inf,
        *,
        is_final: bool = True,
    ) -> None:
        """Read a file and write its records and rejects to `to`, one a line.

        If the process is stopped, one reject is written and nothing else. Unless it exceeded its time, a new
        process tries once more first, because the cause may not have been the file.

        Args:
            source: key and version of the file.
            file: path of the file on this machine.
            size: its size in bytes.
            to: seekable stream, written to at its current position.
            max_seconds: how long the caller can wait, in wall-clock time.
            is_final: whether a file that takes longer is rejected; otherwise DeadlineExceededError is raised.

        Raises:
            DeadlineExceededError: the caller's time ran out and `is_final` is false; nothing was written.
            ReadingProcessClosedError: `close` was called.
        """
        seconds = max_reading_seconds(size)
        patience = min(max_seconds, seconds * _CLOCK_SECONDS_A_PROCESSOR_SECOND)
        until = time.monotonic() + patience
        request = ReadRequest(source=source, file=os.fsencode(file).decode("latin-1"), seconds=seconds)
        start = to.tell()
        for is_last in (False, True):
            status = self._send(request, to, until - time.monotonic())
            if status is None:
                return
            if self._is_closed:
                raise ReadingProcessClosedError
            to.seek(start)
            to.truncate()
            if status == _TIME_IS_UP and patience == max_seconds and not is_final:
                raise DeadlineExceededError
            if is_last or status in {_TIME_IS_UP, -signal.SIGXCPU}:
                to.write(_reject(source, status, seconds).model_dump_json().encode() + b"\n")
                return

    def close(self) -> None:
        """Kill the process and start no other. Another thread may call this."""
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

    def _send(self, request: ReadRequest, to: IO[bytes], wait: float) -> int | None:
        """Return None if the file was read, otherwise the exit status of the process."""
        if self._is_closed:
            raise ReadingProcessClosedError
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
            # Ctrl-C in a terminal must not reach it; it exits when its standard input closes.
            start_new_session=True,
        )


_TIME_IS_UP = -signal.NSIG
"""Stands for the wall-clock limit; no signal has this number."""


def _environment() -> dict[str, str]:
    """Return only what Python needs to start. Credentials are left out because the file is not trusted."""
    needed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH", "TMPDIR") if name in os.environ}
    # numpy's threads would reserve memory and have nothing to do.
    return needed | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}


def _reject(source: Source, status: int, seconds: int) -> Reject:
    if status in {_TIME_IS_UP, -signal.SIGXCPU}:
        reason, cure = f"Reading it takes longer than {seconds} seconds.", TOO_MUCH_MEMORY[1]
    elif status == -signal.SIGKILL:
        reason, cure = _KILLED
    else:
        reason, cure = _BROKEN
    return Reject(source_key=source.key, source_version=source.version, reason=reason, cure=cure)
