"""Read one file after another as a separate program, within limits on time and memory.

Run it as `python -m stories.reading_process`. Each line of its standard input is a `Request`; for each it
writes the file's records and rejects, one per line, and then a line with `END_OF_FILE` and the memory that
the process uses, in kilobytes. It is a separate program because files are untrusted: one that crashes a
parser, keeps it busy or fills the memory must not affect the others.
"""

import contextlib
import logging
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from stories.confinement import END_OF_FILE, Request
from stories.errors import unopened
from stories.limits import MEMORY_BYTES
from stories.models import Record, Reject
from stories.reading import read_file

_STATM = Path("/proc/self/statm")
"""On Linux: the number of pages of the address space, then of those in memory."""


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Handle requests until the input ends."""
    _limit_memory()
    for line in requests:
        request = Request.model_validate_json(line)
        _limit_time(request.seconds)
        for found in _read(request):
            answers.write(found.model_dump_json().encode() + b"\n")
        answers.write(END_OF_FILE + b"%d\n" % (_held_bytes() // 1024))
        answers.flush()


def _read(request: Request) -> Iterator[Record | Reject]:
    try:
        content = Path(os.fsdecode(request.file.encode("latin-1"))).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        yield unopened(request.source, error)
        return
    with content:
        yield from read_file(request.source, content)


def _held_bytes() -> int:
    with contextlib.suppress(OSError):
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes, and at most so far


def _limit_memory() -> None:
    """Limit the process's memory, so that Python and most parsers raise an error instead of filling it."""
    # macOS enforces no such limit and has no /proc.
    with contextlib.suppress(ValueError, OSError):
        most = int(_STATM.read_text().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: int) -> None:
    """Limit the processor time from now on; the operating system ends the process when it is exceeded."""
    until = int(time.process_time()) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    # Keep what a parser prints out of the output.
    answer_to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, answer_to)
