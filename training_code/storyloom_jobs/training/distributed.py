"""Training in several processes: collective operations, and sharding of a base model too large for one GPU.

Processes are one per GPU of each instance, or a few that share the processors. All have the same plan; each
computes its part of every step. Decisions that depend on a clock are reduced over all processes, because
clocks differ.
"""

import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import Module, ModuleList

from storyloom_jobs.container import JobError
from storyloom_jobs.hardware import MachineShare
from storyloom_jobs.hyperparameters import Sharding
from storyloom_jobs.tokenization import TokenSequence

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long to wait for the other processes, which may be loading a base model."""

SHARDING_SHARE = 0.6
"""Share of a GPU's memory; a larger base model leaves too little for the activations."""


class ProcessGroup:
    """The processes that train together. With a single process every operation returns its input."""

    def __init__(self, rank: int = 0, world_size: int = 1, local_world_size: int = 1) -> None:
        """Describe this process: its rank, all processes, and those on this instance."""
        self.rank = rank
        self.world_size = world_size
        self.local_world_size = local_world_size

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ProcessGroup":
        """Join the group that the launcher describes; without a launcher, a single process."""
        if "LOCAL_RANK" not in environment:
            return cls()
        # Small values are reduced in main memory, so that nothing waits for a GPU.
        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(environment["LOCAL_RANK"]))
            backend = "cpu:gloo,cuda:nccl"
        distributed.init_process_group(backend, timeout=TIMEOUT)
        local_world_size = int(environment.get("LOCAL_WORLD_SIZE", 1))
        return cls(distributed.get_rank(), distributed.get_world_size(), local_world_size)

    @property
    def is_main(self) -> bool:
        """Return whether this is the process that writes files."""
        return self.rank == 0

    def destroy(self) -> None:
        """Wait for all processes, then end the group."""
        if self.world_size > 1:
            distributed.barrier()
            distributed.destroy_process_group()

    def all_reduce_max(self, value: float) -> float:
        """Return the largest of all processes' values."""
        return self._all_reduce([value], distributed.ReduceOp.MAX)[0] if self.world_size > 1 else value

    def all_reduce_sum(self, *values: float) -> list[float]:
        """Return the sum of each value over all processes."""
        return self._all_reduce(values, distributed.ReduceOp.SUM) if self.world_size > 1 else list(values)

    def broadcast(self, value: T) -> T:
        """Return the main process's value."""
        if self.world_size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def all_gather(self, value: T) -> list[T]:
        """Return every process's value, ordered by rank. Values must consist of tensors and plain types."""
        if self.world_size == 1:
            return [value]
        gathered: list[Any] = [None] * self.world_size
        distributed.all_gather_object(gathered, value)
        return gathered

    def all_reduce_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum each parameter's gradient over all processes, in one operation.

        An adapter's gradient is small, so overlapping this with the backward pass, as DDP does, gains little.
        """
        if self.world_size == 1:
            return
        parameters = list(parameters)
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        together = torch.cat([gradient.flatten().float() for gradient in gradients])
        distributed.all_reduce(together)
        parts = torch.split(together, [gradient.numel() for gradient in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype)

    def local_rows(self, rows: Sequence[TokenSequence]) -> Sequence[TokenSequence]:
        """Return this process's rows of a step. All parts have about as many tokens; some may be empty."""
        if self.world_size == 1:
            return rows
        parts: list[list[TokenSequence]] = [[] for _ in range(self.world_size)]
        tokens = [0] * self.world_size
        for row in sorted(rows, key=len, reverse=True):
            least = tokens.index(min(tokens))
            parts[least].append(row)
            tokens[least] += len(row)
        return parts[self.rank]

    @staticmethod
    def _all_reduce(values: Sequence[float], operation: Any) -> list[float]:
        together = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(together, operation)
        numbers: list[float] = together.tolist()
        return numbers


def rng_state() -> dict[str, Any]:
    """Return the state of this process's random generators: Python's, PyTorch's and its GPU's."""
    return {
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Restore the random generators to the state that `rng_state` returned."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def needs_sharding(
    setting: Sharding, weight_bytes: float, machine: MachineShare, group: ProcessGroup
) -> bool:
    """Decide whether to shard a base model of `weight_bytes`; with `auto`, if it fills most of one GPU."""
    if group.world_size == 1 or setting == "none":
        return False
    too_large = machine.kind == "cuda" and weight_bytes > SHARDING_SHARE * machine.memory_bytes
    return setting == "full" or too_large


def with_sharded_memory(machine: MachineShare, weight_bytes: float, group: ProcessGroup) -> MachineShare:
    """Add to the machine's memory what the shards on other GPUs save, so that the memory can be planned."""
    saved = int(weight_bytes * (1 - 1 / group.world_size))
    return replace(machine, memory_bytes=machine.memory_bytes + saved)


def shard(model: Any, device: torch.device, group: ProcessGroup) -> None:
    """Shard the frozen weights of a peft model's layers with FSDP; all other tensors go to `device` whole.

    FSDP gathers a layer while it computes and frees it afterwards. The adapter is small and stays whole in
    every process, so its gradients, optimiser and checkpoints are the same with and without sharding. The
    model may still be in main memory: at most one whole layer of it is on the device at a time.

    Raises:
        JobError: the decoder layers cannot be found.
    """
    base = model.get_base_model()
    mesh = init_device_mesh(device.type, (group.world_size,))
    whole = {parameter for parameter in model.parameters() if parameter.requires_grad}
    layers = _find_layers(base)
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=whole)
    in_layers = {parameter for layer in layers for parameter in layer.parameters()}
    whole |= {parameter for parameter in model.parameters() if parameter not in in_layers}
    # A root module without sharded weights lets FSDP prefetch a layer while the one before it computes.
    fully_shard(base.base_model, mesh=mesh, ignored_params=whole)
    for tensor in (*whole, *model.buffers()):
        tensor.data = tensor.data.to(device)


def _find_layers(base: Any) -> ModuleList:
    count = getattr(base.config, "num_hidden_layers", None)
    modules: list[Module] = list(base.modules())
    for module in modules:
        if isinstance(module, ModuleList) and len(module) == count:
            return module
    raise JobError(
        "This base model cannot be sharded over several GPUs, because its decoder layers were not found. "
        "Set sharding to none, or choose another base model."
    )
