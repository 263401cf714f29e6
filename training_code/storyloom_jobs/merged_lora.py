"""Trains LoRA layers with merged weights: one matrix product instead of three.

peft computes y = W x + s B (A x): two thin products and several copies beside each large one, both forward
and backward. Here W' = W + s B A is computed once a step. Then y = W' x, dx = W'ᵀ dy, and with u = A x and v
= Bᵀ dy, dB = s dy uᵀ and dA = s v xᵀ (the gradients of LoRA, arXiv 2106.09685, section 4.1). The adapter
parameters stay peft's own, in fp32, and peft saves them.
"""

import types
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch.nn import functional

_MERGED = "storyloom_merged"
"""Name of the buffer with the merged weight [out, in], in each LoRA layer."""


class _MergedProduct(torch.autograd.Function):
    """Multiply `x` [.., in] by the merged weight [out, in]; gradients go to `x` and both adapter matrices."""

    @staticmethod
    def forward(  # noqa: PLR0917 (what a call of the function passes)
        context: Any,
        x: torch.Tensor,
        merged: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        context.save_for_backward(x, merged, down, up)
        context.scaling = scaling
        return functional.linear(x, merged, bias)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, merged, down, up = context.saved_tensors
        rows = x.reshape(-1, x.shape[-1])
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        dx = (gradient @ merged).view_as(x) if context.needs_input_grad[0] else None
        scaled = gradient @ up.to(gradient.dtype)
        lowered = rows @ down.to(rows.dtype).T
        d_down = (scaled.T @ rows).to(down.dtype).mul_(context.scaling)
        d_up = (gradient.T @ lowered).to(up.dtype).mul_(context.scaling)
        return dx, None, None, d_down, d_up, None


class MergedAdapters:
    """LoRA layers of a model that compute with a merged copy of their weight; `refresh` updates the copies.

    The copies take as much memory as the layers' frozen weights.
    """

    def __init__(self, model: Any, adapter: str = "default") -> None:
        """Replace the forward pass of every LoRA layer; call it only if `can_merge` returns True."""
        self._adapter = adapter
        self._layers: list[Any] = [
            module
            for module in model.modules()
            if isinstance(module, LoraLinear) and adapter in module.lora_A
        ]
        for layer in self._layers:
            merged = torch.empty_like(layer.get_base_layer().weight)
            layer.register_buffer(_MERGED, merged, persistent=False)
            # One function for all layers rather than a closure each, so that it is compiled once.
            layer.forward = types.MethodType(_forward, layer)
        self.refresh()

    @staticmethod
    def can_merge(model: Any, adapter: str = "default") -> bool:
        """Check that each adapted layer is a plain linear one, without dropout or LoRA variants."""
        adapted = [module for module in model.modules() if adapter in getattr(module, "lora_A", ())]
        return bool(adapted) and all(_is_plain(module, adapter) for module in adapted)

    @torch.no_grad()
    def refresh(self) -> None:
        """Merge the current adapters into the copies; call it whenever the adapters have changed."""
        for layer in self._layers:
            down, up = layer.lora_A[self._adapter].weight, layer.lora_B[self._adapter].weight
            weight = layer.get_base_layer().weight
            change = up.to(weight.dtype) @ down.to(weight.dtype)
            torch.add(weight, change, alpha=layer.scaling[self._adapter], out=getattr(layer, _MERGED))


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    (adapter,) = layer.active_adapters
    # torch has no types for it
    product: torch.Tensor = _MergedProduct.apply(  # type: ignore[no-untyped-call]
        x,
        getattr(layer, _MERGED),
        layer.get_base_layer().bias,
        layer.lora_A[adapter].weight,
        layer.lora_B[adapter].weight,
        layer.scaling[adapter],
    )
    return product


def _is_plain(layer: Any, adapter: str) -> bool:
    base = layer.get_base_layer()
    return (
        issubclass(type(layer), LoraLinear)
        and type(base) is torch.nn.Linear
        and base.weight.is_floating_point()
        and issubclass(type(layer.lora_dropout[adapter]), torch.nn.Identity)
        and adapter not in layer.lora_variant
    )
