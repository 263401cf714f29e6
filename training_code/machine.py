"""What the job runs on: how much memory there is, and how fast matrix products can be at most."""

import importlib.util
import resource
import sys
from dataclasses import dataclass
from typing import Literal

import torch

from training_code import processors
from training_code.compiled import can_compile
from training_code.precision import PROBE_SHAPE, Numerics, products_per_second
from training_code.processors import GIBIBYTE

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
class Machine:
    """One process's share of the machine."""

    kind: Literal["cpu", "cuda"]
    memory: int
    """Bytes: of the GPU, or of the main memory that the job may use."""
    four_bit: bool
    """Whether the base can be kept in 4 bits here."""
    compiler: bool = False
    """Whether layers can be compiled for the processor."""

    @classmethod
    def here(cls, device: torch.device, processes: int = 1) -> "Machine":
        """The machine at hand. Whole memory rather than what is free: a resumed job must choose the same.

        Args:
            device: of this process.
            processes: that train on this instance; without a GPU they share its memory.
        """
        if device.type == "cuda":
            memory = torch.cuda.get_device_properties(device).total_memory
            return cls("cuda", memory, importlib.util.find_spec("bitsandbytes") is not None)
        return cls("cpu", processors.memory() // processes, False, can_compile())


def memory_used(device: torch.device) -> float:
    """GiB at their most so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIBIBYTE
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIBIBYTE


def peak_flops(numerics: Numerics) -> float | None:
    """Floating-point operations a second that matrix products reach at most, None where it is not known.

    Measured on a CPU, where it depends on what else runs; from a table on a GPU, and for bf16 only.
    """
    if numerics.device.type == "cpu":
        rows, inner, columns = PROBE_SHAPE
        return 2.0 * rows * inner * columns * products_per_second(numerics.dtype)
    if numerics.dtype != torch.bfloat16:
        return None
    name = torch.cuda.get_device_name(numerics.device)
    return next((1e12 * speed for part, speed in _GPU_TERAFLOPS.items() if part in name), None)
