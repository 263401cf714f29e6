"""Compiles a model's layers, which makes one kernel of the many small steps between matrix products.

It takes about half a minute and a C++ compiler, and makes a step about a quarter shorter.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

BACKEND = "inductor"
"""Of `torch.compile`: its own, which writes C++."""


def can_compile() -> bool:
    """Whether the machine has what kernels for a processor are built with."""
    return shutil.which("g++") is not None


def compile_layers(model: Any) -> None:
    """Compile the decoder layers; what cannot be compiled stays as it is.

    All but the first, into which no gradient goes: it would be compiled apart from the others.
    """
    torch._dynamo.config.suppress_errors = True
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    lists = (part for part in causal.modules() if isinstance(part, torch.nn.ModuleList))
    layers = max(lists, key=len, default=torch.nn.ModuleList())
    for layer in layers[1:]:
        layer.compile(dynamic=True, backend=BACKEND)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled layers as they were written: without gradients they would all be compiled again."""
    with torch.compiler.set_stance("force_eager"):
        yield
