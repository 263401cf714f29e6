"""What the job computes on: device, number format, memory, and the highest rate of matrix products."""

import importlib.util
import resource
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from storyloom_jobs.cpu import resources
from storyloom_jobs.cpu.kernels import can_compile
from storyloom_jobs.cpu.resources import GIBIBYTE
from storyloom_jobs.hyperparameters import Precision

PROBE_SECONDS = 0.15
PROBE_SHAPE = (1024, 1024, 2048)
"""Rows, inner dimension and columns of the probed product: the size of a small model's feed-forward layer."""

MIN_SPEEDUP = 1.1
"""bf16 is chosen if it is at least this many times as fast as fp32, because it rounds more."""

# Dense bf16 products with fp32 sums, in 10^12 operations a second, from the makers' data sheets.
# The first name that the GPU's own name contains counts.
_GPU_TERAFLOPS: dict[str, float] = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10G": 70,
    "RTX PRO 6000": 503,
}


@dataclass(frozen=True)
class PrecisionConfig:
    """Device and number format that the model computes in."""

    device: torch.device
    dtype: torch.dtype
    """Format of the frozen base weights and of matrix products; adapters and optimiser are always fp32."""

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context in which fp32 adapters multiply in the format of the base weights."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def choose_precision(setting: Precision = "auto") -> PrecisionConfig:
    """Choose the device, and the number format that is given or, for `auto`, the faster one.

    On processors with AMX bf16 is twice as fast as fp32, on some that only claim to support it a fifth as
    fast. About a third of a second of matrix products tells which.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if setting == "auto":
        fast = _gpu_has_bf16() if device.type == "cuda" else _is_bf16_faster_on_cpu()
        return PrecisionConfig(device, torch.bfloat16 if fast else torch.float32)
    return PrecisionConfig(device, torch.bfloat16 if setting == "bf16" else torch.float32)


def _gpu_has_bf16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _is_bf16_faster_on_cpu() -> bool:
    return matmuls_per_second(torch.bfloat16) > MIN_SPEEDUP * matmuls_per_second(torch.float32)


def matmuls_per_second(dtype: torch.dtype) -> float:
    """Measure how many matrix products of `PROBE_SHAPE` this CPU computes in a second."""
    rows, inner, columns = PROBE_SHAPE
    left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
    torch.mm(left, right)  # the first call compiles and packs
    started = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - started) < PROBE_SECONDS:
        torch.mm(left, right)
        count += 1
    return count / elapsed


@dataclass(frozen=True)
class MachineShare:
    """One process's share of the machine."""

    kind: Literal["cpu", "cuda"]
    memory_bytes: int
    """Memory of the GPU, or main memory that the job may use."""
    has_bitsandbytes: bool
    """Whether the base model can be kept in 4 bits."""
    has_compiler: bool = False
    """Whether layers can be compiled for the processor."""

    @classmethod
    def detect(cls, device: torch.device, processes: int = 1) -> "MachineShare":
        """Describe this machine by its total memory, not the free memory: a resumed job must choose the same.

        Args:
            device: device of this process.
            processes: processes that train on this instance; without a GPU they share its memory.
        """
        if device.type == "cuda":
            memory_bytes = torch.cuda.get_device_properties(device).total_memory
            return cls("cuda", memory_bytes, importlib.util.find_spec("bitsandbytes") is not None)
        return cls("cpu", resources.memory_bytes() // processes, False, can_compile())


def peak_memory_gib(device: torch.device) -> float:
    """Return the peak memory so far, in GiB: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIBIBYTE
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIBIBYTE


def peak_flops(precision: PrecisionConfig) -> float | None:
    """Return the highest rate of matrix products in floating-point operations a second, None if unknown.

    On a CPU it is measured, because it depends on what else runs; for a GPU in bf16 it comes from a table.
    """
    if precision.device.type == "cpu":
        rows, inner, columns = PROBE_SHAPE
        return 2.0 * rows * inner * columns * matmuls_per_second(precision.dtype)
    if precision.dtype != torch.bfloat16:
        return None
    name = torch.cuda.get_device_name(precision.device)
    return next((1e12 * speed for part, speed in _GPU_TERAFLOPS.items() if part in name), None)
