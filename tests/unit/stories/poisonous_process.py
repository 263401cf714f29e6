"""The process that reads files, with readers of poisonous ones beside its own."""

import os
import sys

from stories.readers import readers
from stories.reading_process import main
from tests.unit.stories import poison

if __name__ == "__main__":
    readers().update(dict.fromkeys(poison.SUFFIXES, poison.read))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, answers)
