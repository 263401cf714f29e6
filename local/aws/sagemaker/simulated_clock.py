"""Return the local SageMaker's time: the machine's own, or a simulated time from a file.

SageMaker bills by time, and no test can wait for a month. While the file that `LOCAL_AWS_SAGEMAKER_CLOCK`
names exists, its content is the time, in seconds since the epoch, so a test advances the clock by writing it.
The times that SageMaker reports, what it bills and the time limits of its jobs follow this clock. How long a
process takes to start does not.
"""

import os
import time
from pathlib import Path

FILE_VARIABLE = "LOCAL_AWS_SAGEMAKER_CLOCK"


def current_time() -> float:
    """Return the current time in seconds since the epoch."""
    written = _written()
    return time.time() if written is None else written


def monotonic() -> float:
    """Return a time in seconds for measuring durations, unaffected by changes of the machine's clock."""
    written = _written()
    return time.monotonic() if written is None else written


def _written() -> float | None:
    path = os.environ.get(FILE_VARIABLE)
    try:
        return float(Path(path).read_text()) if path else None
    except FileNotFoundError:
        return None
