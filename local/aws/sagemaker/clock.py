"""The time of the local SageMaker: the machine's own, unless a file holds another.

SageMaker bills by time, and no test can wait for a month. While the file that `LOCAL_AWS_SAGEMAKER_CLOCK`
names exists, it holds the time, in seconds since the epoch; a test that writes it lets time pass. The times
that SageMaker reports, what it bills and the limits of its jobs follow it. How long a process takes to start
does not.
"""

import os
import time
from pathlib import Path

FILE_VARIABLE = "LOCAL_AWS_SAGEMAKER_CLOCK"


def now() -> float:
    """Return the seconds since the epoch."""
    written = _written()
    return time.time() if written is None else written


def monotonic() -> float:
    """Return seconds to measure a length of time with, which setting the machine's clock does not change."""
    written = _written()
    return time.monotonic() if written is None else written


def _written() -> float | None:
    path = os.environ.get(FILE_VARIABLE)
    try:
        return float(Path(path).read_text()) if path else None
    except FileNotFoundError:
        return None
