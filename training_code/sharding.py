"""A base model too large for one GPU, divided among all: each holds a part of every layer's frozen weights.

FSDP puts a layer together while it computes and lets go of it after. The adapter is small and stays whole in
every process, so that its gradients, its optimiser and its checkpoints are the same with and without.
"""

from dataclasses import replace
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import Module, ModuleList

from training_code.container import JobError
from training_code.distributed import Team
from training_code.hyperparameters import Sharding
from training_code.machine import Machine

WORTHWHILE_SHARE = 0.6
"""Of a GPU's memory: a base that takes more leaves too little for the activations."""


def is_needed(setting: Sharding, weights: float, machine: Machine, team: Team) -> bool:
    """Whether a base of `weights` bytes is to be divided; `auto` does so where it fills one GPU."""
    if team.size == 1 or setting == "none":
        return False
    too_large = machine.kind == "cuda" and weights > WORTHWHILE_SHARE * machine.memory
    return setting == "full" or too_large


def with_others(machine: Machine, weights: float, team: Team) -> Machine:
    """The machine as it is to be planned with: it need not hold what the others have of the base."""
    return replace(machine, memory=machine.memory + int(weights * (1 - 1 / team.size)))


def shard(model: Any, device: torch.device, team: Team) -> None:
    """Divide the frozen weights of a peft model's layers; all else goes to `device` whole.

    The model may still be in main memory: never more than one whole layer of it is on the device.

    Raises:
        JobError: the model does not tell its layers.
    """
    base = model.get_base_model()
    mesh = init_device_mesh(device.type, (team.size,))
    whole = {parameter for parameter in model.parameters() if parameter.requires_grad}
    layers = _layers(base)
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=whole)
    within = {parameter for layer in layers for parameter in layer.parameters()}
    whole |= {parameter for parameter in model.parameters() if parameter not in within}
    # The root without weights of its own lets a layer be fetched while the one before it computes.
    fully_shard(base.base_model, mesh=mesh, ignored_params=whole)
    for tensor in (*whole, *model.buffers()):
        tensor.data = tensor.data.to(device)


def _layers(base: Any) -> ModuleList:
    count = getattr(base.config, "num_hidden_layers", None)
    modules: list[Module] = list(base.modules())
    for module in modules:
        if isinstance(module, ModuleList) and len(module) == count:
            return module
    raise JobError(
        "This base model cannot be divided among several GPUs, because its layers are not told apart. "
        "Set sharding to none, or choose another base model."
    )
