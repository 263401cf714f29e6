"""Starts the training job. SageMaker's toolkit runs it in the `code` channel: `python train.py`.

The launcher runs this file again for each process if several train together.
"""

import gc
import os
import time
from pathlib import Path


def main() -> int:
    """Start the training processes of this instance, or train in this one; return the exit code."""
    # For processes of the launcher the job began before they started.
    started = float(os.environ.setdefault("STORYLOOM_STARTED", str(time.monotonic())))
    # torch reads this on import: waiting threads sleep rather than spin, and leave the processor to others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    # Before the libraries that take seconds to import: a process that only starts others needs none of them.
    from storyloom_jobs.training.launcher import launch_if_needed  # noqa: PLC0415

    if (code := launch_if_needed(Path(__file__).resolve())) is not None:
        return code

    # Importing creates millions of objects and no garbage; collecting would take a seventh of the time.
    gc.disable()
    from storyloom_jobs.training.job import run_training  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    return run_training(started)


if __name__ == "__main__":
    raise SystemExit(main())
