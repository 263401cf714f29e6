"""The reading process with the additional readers of `poison`."""

import os
import sys

from stories.formats.detection import readers
from stories.reading.worker import main
from tests.unit.stories import poison

if __name__ == "__main__":
    readers().update(dict.fromkeys(poison.SUFFIXES, poison.read))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, answers)
