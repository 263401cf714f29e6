"""Run as a program: reads one file after another, and ends by itself when one takes too much.

`python -m stories.reading_process`. Each line of its standard input is a `Request`; for each it writes the
file's records and rejects, one a line, and then a line that begins with `END_OF_FILE` and says in kilobytes
how much memory the process holds. It is a program of its own because a file may be anybody's: what crashes a
parser, keeps it busy or fills the memory must not take the files beside it along.
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
"""Linux: pages of the address space, then those in memory."""


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer each request until there are no more."""
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
    """Let the system refuse memory beyond the limit: Python and most parsers give up in order then."""
    # macOS enforces no such limit, and has no such file.
    with contextlib.suppress(ValueError, OSError):
        most = int(_STATM.read_text().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: int) -> None:
    """Set when the system ends this process, in seconds of a processor from now."""
    until = int(time.process_time()) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    # What a parser prints must not stand among the answers.
    answer_to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, answer_to)
