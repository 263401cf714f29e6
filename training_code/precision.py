"""Which number format to compute in: measured, because processors lie about what is fast."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from training_code.hyperparameters import Precision

PROBE_SECONDS = 0.15
PROBE_SHAPE = (1024, 1024, 2048)
"""Rows, inner and columns of the probed product: the size of a small model's feed-forward layer."""

WORTHWHILE = 1.1
"""bf16 must be this many times faster than fp32 to be worth its rounding."""


@dataclass(frozen=True)
class Numerics:
    """Where the model computes, and in what."""

    device: torch.device
    dtype: torch.dtype
    """Of the frozen base weights and of the matrix products; adapters and optimiser always stay fp32."""

    def autocast(self) -> AbstractContextManager[object]:
        """A context in which fp32 adapters multiply in the base weights' format."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def choose(precision: Precision = "auto") -> Numerics:
    """The device at hand, and the requested format or, for `auto`, the one that is faster there.

    bf16 runs twice as fast as fp32 on processors with AMX and at a fifth of it on some that merely claim
    to support it; about a third of a second of multiplying tells which is which.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if precision == "auto":
        fast = _gpu_has_bf16() if device.type == "cuda" else _cpu_prefers_bf16()
        return Numerics(device, torch.bfloat16 if fast else torch.float32)
    return Numerics(device, torch.bfloat16 if precision == "bf16" else torch.float32)


def _gpu_has_bf16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _cpu_prefers_bf16() -> bool:
    return products_per_second(torch.bfloat16) > WORTHWHILE * products_per_second(torch.float32)


def products_per_second(dtype: torch.dtype) -> float:
    """Matrix products of `PROBE_SHAPE` that this CPU does in a second, in the given format."""
    rows, inner, columns = PROBE_SHAPE
    left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
    torch.mm(left, right)  # the first call compiles and packs
    started = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - started) < PROBE_SECONDS:
        torch.mm(left, right)
        count += 1
    return count / elapsed
