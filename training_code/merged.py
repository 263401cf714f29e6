"""Computes a LoRA layer as one product, and the gradients of its adapter from that product's ends.

peft computes y = W x + s B (A x): two thin products and several copies beside each large one, forward and
again backward. W' = W + s B A is made once a step instead; then y = W' x, dx = W'ᵀ dy, and with u = A x and
v = Bᵀ dy, dB = s dy uᵀ and dA = s v xᵀ (the gradients of LoRA, arXiv 2106.09685, section 4.1, written out).
The adapters stay what peft made them, in fp32, and are saved by peft.
"""

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch.nn import functional


class _MergedProduct(torch.autograd.Function):
    """`x` [.., in] times the merged weight [out, in], with gradients for `x` and the two adapter matrices."""

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
    """The LoRA layers of a model, each with a merged copy of its weight that `refresh` brings up to date.

    The copies take as much memory as the layers' frozen weights.
    """

    def __init__(self, model: Any, adapter: str = "default") -> None:
        """Take over the forward pass of every LoRA layer for which `can_merge` holds."""
        self._adapter = adapter
        self._layers: list[Any] = [module for module in model.modules() if isinstance(module, LoraLinear)]
        self._merged = [torch.empty_like(layer.get_base_layer().weight) for layer in self._layers]
        for layer, merged in zip(self._layers, self._merged, strict=True):
            layer.forward = self._forward_of(layer, merged)
        self.refresh()

    @staticmethod
    def can_merge(model: Any, adapter: str = "default") -> bool:
        """Whether every adapted layer is a plain linear one, not quantized, without dropout or variants."""
        adapted = [module for module in model.modules() if hasattr(module, "lora_A")]
        return bool(adapted) and all(_is_plain(module, adapter) for module in adapted)

    @torch.no_grad()
    def refresh(self) -> None:
        """Merge the adapters as they are now; to be called whenever they have changed."""
        for layer, merged in zip(self._layers, self._merged, strict=True):
            down, up = self._matrices(layer)
            weight = layer.get_base_layer().weight
            change = up.to(weight.dtype) @ down.to(weight.dtype)
            torch.add(weight, change, alpha=layer.scaling[self._adapter], out=merged)

    def _matrices(self, layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return layer.lora_A[self._adapter].weight, layer.lora_B[self._adapter].weight

    def _forward_of(self, layer: Any, merged: torch.Tensor) -> Any:
        down, up = self._matrices(layer)
        bias, scaling = layer.get_base_layer().bias, layer.scaling[self._adapter]

        def forward(x: torch.Tensor) -> torch.Tensor:
            product: torch.Tensor = _MergedProduct.apply(x, merged, bias, down, up, scaling)  # type: ignore[no-untyped-call]
            return product

        return forward


def _is_plain(layer: Any, adapter: str) -> bool:
    base = layer.get_base_layer()
    return (
        issubclass(type(layer), LoraLinear)
        and type(base) is torch.nn.Linear
        and base.weight.is_floating_point()
        and issubclass(type(layer.lora_dropout[adapter]), torch.nn.Identity)
        and adapter not in layer.lora_variant
    )
