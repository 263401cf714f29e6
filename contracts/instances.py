"""GPU instances of SageMaker that the app knows, and what fits into them.

For each kind of job SageMaker has an enumeration of instance types, which boto3 contains and does not check;
tests compare these lists with them. Memory is per GPU: training and hosting both use one GPU, so an instance
with four GPUs fits no larger model than one with a single GPU.
"""

from dataclasses import dataclass
from typing import Literal

Purpose = Literal["training", "hosting"]


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU."""

    name: str
    memory_gb: int


_T4 = Gpu("NVIDIA T4", 16)
_A10G = Gpu("NVIDIA A10G", 24)
_L4 = Gpu("NVIDIA L4", 24)
_L40S = Gpu("NVIDIA L40S", 48)
_A100_40 = Gpu("NVIDIA A100", 40)
_A100_80 = Gpu("NVIDIA A100", 80)
_H100 = Gpu("NVIDIA H100", 80)

_SIZES_OF_G = ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge", "48xlarge")

GPU_OF_INSTANCE: dict[str, Gpu] = {
    **{
        f"ml.g4dn.{size}": _T4 for size in ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
    },
    **{f"ml.g5.{size}": _A10G for size in _SIZES_OF_G},
    **{f"ml.g6.{size}": _L4 for size in _SIZES_OF_G},
    **{f"ml.g6e.{size}": _L40S for size in _SIZES_OF_G},
    "ml.p4d.24xlarge": _A100_40,
    "ml.p4de.24xlarge": _A100_80,
    "ml.p5.4xlarge": _H100,
    "ml.p5.48xlarge": _H100,
}

NO_TRANSFORMS = ("ml.p",)
"""Prefixes of the instances above that `TransformInstanceType` lacks, so transform jobs cannot have them."""

NO_PROCESSING = ("ml.p4d.24xlarge", "ml.p4de.24xlarge", "ml.p5.48xlarge")
"""The instances above that `ProcessingInstanceType` lacks, so processing jobs cannot have them."""

# The containers are built with CUDA 13, which dropped everything before Turing.
TOO_OLD_FOR_CUDA_13 = ("ml.p2.", "ml.p3.", "ml.p3dn.")


def memory_needed_gb(parameters_millions: int, purpose: Purpose) -> float:
    """Estimate the GPU memory a model needs, in GB.

    Weights are bf16, two bytes a parameter. Training adds activations, the adapter and its optimizer; hosting
    adds the cache of attention keys and values.
    """
    weights_gb = 2 * parameters_millions / 1000
    return weights_gb * 1.2 + 5 if purpose == "training" else weights_gb * 1.1 + 3


def smallest_that_fits(parameters_millions: int, purpose: Purpose) -> str | None:
    """Return the cheapest instance that a model fits into; None if one GPU is not enough."""
    candidates = ("ml.g6.xlarge", "ml.g6e.xlarge", "ml.p5.4xlarge")  # cheapest first
    needed_gb = memory_needed_gb(parameters_millions, purpose)
    return next((name for name in candidates if GPU_OF_INSTANCE[name].memory_gb >= needed_gb), None)
