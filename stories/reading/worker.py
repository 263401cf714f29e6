"""Read files in a process that exits when a file exceeds its limits: `python -m stories.reading.worker`.

Each line of standard input is a `ReadRequest`. For each, the process writes the file's records and rejects,
one a line, and then a line that begins with `END_OF_FILE` and gives the memory of the process in kilobytes.
It is a separate process because files are not trusted: one that crashes its parser, or takes too much time or
memory, must not affect the others.
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

from stories.file_rules import READING_MEMORY_BYTES, cannot_open
from stories.reading.file_reader import read_file
from stories.reading.sandbox import END_OF_FILE, ReadRequest
from stories.records import Record, Reject

_STATM = Path("/proc/self/statm")
"""On Linux: the pages of the address space, then the pages in memory."""


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Process requests until standard input ends."""
    _limit_memory()
    for line in requests:
        request = ReadRequest.model_validate_json(line)
        _limit_time(request.seconds)
        for found in _read(request):
            answers.write(found.model_dump_json().encode() + b"\n")
        answers.write(END_OF_FILE + b"%d\n" % (_held_bytes() // 1024))
        answers.flush()


def _read(request: ReadRequest) -> Iterator[Record | Reject]:
    try:
        content = Path(os.fsdecode(request.file.encode("latin-1"))).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        yield cannot_open(request.source, error)
        return
    with content:
        yield from read_file(request.source, content)


def _held_bytes() -> int:
    with contextlib.suppress(OSError):
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: peak, in bytes


def _limit_memory() -> None:
    """Set a memory limit, beyond which allocations fail: Python and most parsers handle that in order."""
    # macOS does not enforce the limit and has no such file.
    with contextlib.suppress(ValueError, OSError):
        most = int(_STATM.read_text().split()[0]) * resource.getpagesize() + READING_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: int) -> None:
    """Set the processor time after which the system ends this process, in seconds from now."""
    until = int(time.process_time()) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    # Parsers may print to standard output, so it is redirected and the answers have another descriptor.
    answer_to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, answer_to)
