"""Checks that a job that pays for a GPU has one that works, before it does anything else.

A container on a GPU instance may find no usable GPU: its driver is older than the container's CUDA, the
device is broken, or the libraries have no kernels for it. PyTorch then computes on the processor, hundreds of
times more slowly, while the GPU instance is billed. So every device multiplies two matrices first
(`gpu_probe.py`). This happens in a separate process, which leaves no GPU memory allocated and can be killed
if a device hangs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from storyloom_jobs.container import JobError

ACCELERATOR = "STORYLOOM_ACCELERATOR"
"""Environment variable of the evaluation job, like the hyperparameter `accelerator` of the training job."""
CPU_STANDS_IN = "LOCAL_AWS_CPU_STANDS_IN"
"""Environment variable that only the local SageMaker sets: its instances have a processor instead of a
GPU."""

_TIMEOUT_SECONDS = 50.0
"""After this long a device counts as broken, so that a job fails within its first minute."""
_CURE = (
    "Nothing was computed. Start the run again, since SageMaker usually gives another machine. If it fails "
    "again, choose another instance type in cdk.json, such as ml.g5.xlarge, and deploy."
)


def require_gpu(accelerator: str, environment: Mapping[str, str] = os.environ) -> None:
    """Check that every GPU of this instance works, if the job needs one.

    Args:
        accelerator: `gpu` if the job must have one; `auto` accepts a processor.
        environment: environment variables of this process.

    Raises:
        JobError: the job needs a GPU, and not all GPUs of the instance work.
    """
    if accelerator != "gpu" or environment.get(CPU_STANDS_IN):
        return
    driver = _list_gpus()
    print(driver or "nvidia-smi is not installed or finds no driver.", flush=True)
    expected = max(int(environment.get("SM_NUM_GPUS") or 0), driver.count("\n") + 1 if driver else 0)
    found, reason = _probe(environment)
    if not reason and found < expected:
        reason = f"PyTorch finds {found} of {expected} GPUs"
    if reason:
        seen = f"nvidia-smi lists {driver.replace(chr(10), '; ')}" if driver else "nvidia-smi lists no GPU"
        raise JobError(f"This job needs a GPU that works, and has none: {reason} ({seen[:300]}). {_CURE}")


def _list_gpus() -> str:
    """List the driver's GPUs, one a line with the driver's version; empty if there is no driver."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return listed.strip()


def _probe(environment: Mapping[str, str]) -> tuple[int, str]:
    """Return how many GPUs PyTorch finds, and why one of them fails; the reason is empty if all work."""
    # -P: the probe's folder must not come before the libraries on the import path.
    command = [sys.executable, "-P", str(Path(__file__).with_name("gpu_probe.py").resolve())]
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            env=dict(environment),
        )
    except subprocess.TimeoutExpired:
        return 0, f"a matrix product did not end within {_TIMEOUT_SECONDS:.0f} s"
    try:
        answer = json.loads(ended.stdout.strip().rpartition("\n")[2])
        return int(answer["gpus"]), str(answer["reason"])
    except (ValueError, KeyError):
        last = ended.stderr.strip().rpartition("\n")[2]
        return 0, f"the check ended with exit code {ended.returncode}: {last[:300]}"
