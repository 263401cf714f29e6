"""The processes that train together: one for each GPU of each instance, some that share processors, or one.

They share the plan, each computes its part of every step, and all know the same at every step's end. What a
clock decides is agreed on, because no two clocks say the same.
"""

import os
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from training_code.data import TokenSequence

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long the others are waited for. They may be reading a base model."""


class Team:
    """This process among those that train together. Without others every method does nothing at no cost."""

    def __init__(self, rank: int = 0, size: int = 1, on_instance: int = 1) -> None:
        """`rank` counts from 0, and the first process speaks for all; `on_instance`: those on this one."""
        self.rank = rank
        self.size = size
        self.on_instance = on_instance

    @classmethod
    def join(cls, environment: Mapping[str, str] = os.environ) -> "Team":
        """Meet the others where a launcher (`launch`) has named them in the environment."""
        if "LOCAL_RANK" not in environment:
            return cls()
        # Small things go over the network by main memory: nothing waits for a GPU then.
        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(environment["LOCAL_RANK"]))
            backend = "cpu:gloo,cuda:nccl"
        distributed.init_process_group(backend, timeout=TIMEOUT)
        on_instance = int(environment.get("LOCAL_WORLD_SIZE", 1))
        return cls(distributed.get_rank(), distributed.get_world_size(), on_instance)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def leave(self) -> None:
        """Part from the others once all have come this far."""
        if self.size > 1:
            distributed.barrier()
            distributed.destroy_process_group()

    def agree(self, value: float) -> float:
        """The largest of all processes' values."""
        return self._reduced([value], distributed.ReduceOp.MAX)[0] if self.size > 1 else value

    def total(self, *values: float) -> list[float]:
        """The sums of all processes' values."""
        return self._reduced(values, distributed.ReduceOp.SUM) if self.size > 1 else list(values)

    def same(self, value: T) -> T:
        """What the first process has."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def all_of(self, value: T) -> list[T]:
        """What each process has, in the order of their ranks. The values must be tensors and plain ones."""
        if self.size == 1:
            return [value]
        everyones: list[Any] = [None] * self.size
        distributed.all_gather_object(everyones, value)
        return everyones

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Put the sum of all processes' gradients into each parameter, in one exchange.

        The gradient of an adapter is small: overlapping it with the backward pass, as DDP does, gains little.
        """
        if self.size == 1:
            return
        parameters = list(parameters)
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        together = torch.cat([gradient.flatten().float() for gradient in gradients])
        distributed.all_reduce(together)
        parts = torch.split(together, [gradient.numel() for gradient in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype)

    def share(self, rows: Sequence[TokenSequence]) -> Sequence[TokenSequence]:
        """This process's part of a step's rows: all have about as many tokens, some may have none."""
        if self.size == 1:
            return rows
        shares: list[list[TokenSequence]] = [[] for _ in range(self.size)]
        tokens = [0] * self.size
        for row in sorted(rows, key=len, reverse=True):
            least = tokens.index(min(tokens))
            shares[least].append(row)
            tokens[least] += len(row)
        return shares[self.rank]

    @staticmethod
    def _reduced(values: Sequence[float], operation: Any) -> list[float]:
        together = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(together, operation)
        numbers: list[float] = together.tolist()
        return numbers


def random_state() -> dict[str, Any]:
    """The random generators of this process: Python's, PyTorch's and that of its GPU."""
    return {
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go on with the random numbers of a `random_state`."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
