"""Makes sure that a job which pays for a GPU has one that computes, before the job does anything else.

A container on a GPU instance may find no usable GPU: its driver is older than the container's CUDA, the
device is broken, or the libraries have no code for it. PyTorch then computes on the processor, hundreds of
times more slowly, and the bill goes on. So every device multiplies two matrices first (`gpu_probe.py`), in a
process of its own, which leaves no memory taken and can be given up if a device hangs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from training_code.container import JobError

ACCELERATOR = "STORYLOOM_ACCELERATOR"
"""Environment variable of the evaluation job, as the hyperparameter `accelerator` is of the training job."""
CPU_STANDS_IN = "LOCAL_AWS_CPU_STANDS_IN"
"""Environment variable that only the local SageMaker sets: a processor stands in for its instances' GPUs."""

_SECONDS = 50.0
"""Until a device that does not answer counts as broken: a job is to fail within its first minute."""
_CURE = (
    "Nothing was computed. Start the run again, since SageMaker usually gives another machine. If it fails "
    "again, choose another instance type in cdk.json, such as ml.g5.xlarge, and deploy."
)


def require_gpu(accelerator: str, environment: Mapping[str, str] = os.environ) -> None:
    """Make sure that every GPU of this instance computes, if the job was promised one.

    Args:
        accelerator: `gpu` if the job must have one; `auto` computes on whatever there is.
        environment: the process's.

    Raises:
        JobError: a GPU was promised, and none works or fewer than the instance has.
    """
    if accelerator != "gpu" or environment.get(CPU_STANDS_IN):
        return
    driver = _driver()
    print(driver or "nvidia-smi is not installed or finds no driver.", flush=True)
    expected = max(int(environment.get("SM_NUM_GPUS") or 0), driver.count("\n") + 1 if driver else 0)
    found, reason = _probe(environment)
    if not reason and found < expected:
        reason = f"PyTorch finds {found} of {expected} GPUs"
    if reason:
        seen = f"nvidia-smi lists {driver.replace(chr(10), '; ')}" if driver else "nvidia-smi lists no GPU"
        raise JobError(f"This job needs a GPU that works, and has none: {reason} ({seen[:300]}). {_CURE}")


def _driver() -> str:
    """List the GPUs of the driver, one a line with the driver's version; empty if there is no driver."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return listed.strip()


def _probe(environment: Mapping[str, str]) -> tuple[int, str]:
    """Return how many GPUs compute, and why one does not; the reason is empty if all do."""
    # -P: this folder has modules with the names of libraries, such as `evaluate`.
    command = [sys.executable, "-P", str(Path(__file__).with_name("gpu_probe.py").resolve())]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=dict(environment)
        )
    except subprocess.TimeoutExpired:
        return 0, f"a matrix product did not end within {_SECONDS:.0f} s"
    try:
        answer = json.loads(ended.stdout.strip().rpartition("\n")[2])
        return int(answer["gpus"]), str(answer["reason"])
    except (ValueError, KeyError):
        last = ended.stderr.strip().rpartition("\n")[2]
        return 0, f"the check ended with exit code {ended.returncode}: {last[:300]}"
