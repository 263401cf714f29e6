"""A reader that fails on purpose in ways that no known file causes: it hangs, crashes or fills the memory."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO

from stories.records import RawStory, UnusablePart

SUFFIXES = (".spin", ".wait", ".hog", ".crash", ".kill")


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Fill the memory, or yield a story and then spin, wait, crash or kill the parent process."""
    suffix = PurePosixPath(name).suffix
    if suffix != ".hog":
        yield RawStory("Here are ten words and more, so that this is a story by itself.")
    match suffix:
        case ".spin":
            while True:
                pass
        case ".wait":
            time.sleep(600)
        case ".hog":
            held = []
            while True:
                held.append(bytes(50_000_000))
        case ".crash":
            ctypes.string_at(0)
        case ".kill":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
