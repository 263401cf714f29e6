"""Starts the evaluation job: `python3 /opt/ml/processing/input/code/evaluate_models.py`.

It is not called `evaluate`, because this folder is first on the import path and a library has that name.
"""

import gc
import os


def main() -> int:
    """Run the evaluation job; return the exit code."""
    # torch reads this on import: waiting threads sleep rather than spin, and leave the processor to others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Importing creates millions of objects and no garbage; collecting would take a seventh of the time.
    gc.disable()
    from storyloom_jobs.evaluation.job import run_evaluation  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    return run_evaluation()


if __name__ == "__main__":
    raise SystemExit(main())
