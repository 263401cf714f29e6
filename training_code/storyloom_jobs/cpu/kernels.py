"""Faster kernels for processors: compiled decoder layers, and the backward pass of attention in bf16.

Compiling makes one kernel of the many small operations between matrix products. It takes about half a minute
and a C++ compiler, and makes a step about a quarter shorter.

PyTorch's own backward pass of attention on a CPU in bf16 takes six times as long as its forward pass. Ours is
a few matrix products for each block of queries, large enough to run at the speed of the processor's matrix
unit. The formulas are those of FlashAttention (arXiv 2205.14135, appendix B): with P = exp(s Q Kᵀ - L), where
L is the log-sum-exp of each query, dV = Pᵀ dO, dS = P ∘ (dO Vᵀ - rowsum(dO ∘ O)), dQ = s dS K and dK = s dSᵀ
Q. Query heads that share keys are rows of one product, so keys and values are never repeated there.
"""

import itertools
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

COMPILE_BACKEND = "inductor"
"""Backend of `torch.compile` that writes C++."""

BLOCK = 128
"""Queries of one block: their scores stay in the cache, and most of the masked scores are not computed."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def can_compile() -> bool:
    """Check whether this machine has the compiler that kernels for a processor are built with."""
    return shutil.which("g++") is not None


def compile_layers(model: Any) -> None:
    """Compile the decoder layers; what cannot be compiled runs as it is.

    The first layer is left out. No gradient flows into it, so it would be compiled separately from the
    others.
    """
    torch._dynamo.config.suppress_errors = True
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    lists = (part for part in causal.modules() if isinstance(part, torch.nn.ModuleList))
    layers = max(lists, key=len, default=torch.nn.ModuleList())
    for layer in layers[1:]:
        layer.compile(dynamic=True, backend=COMPILE_BACKEND)


@contextmanager
def eager_layers() -> Iterator[None]:
    """Run compiled layers uncompiled: without gradients they would all be compiled a second time."""
    with torch.compiler.set_stance("force_eager"):
        yield


def supports_blockwise(query: torch.Tensor) -> bool:
    """Check whether blockwise attention is faster: only for bf16 on a CPU, and only with gradients."""
    return query.device.type == "cpu" and query.dtype == torch.bfloat16 and torch.is_grad_enabled()


def blockwise_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: Sequence[int], scale: float
) -> torch.Tensor:
    """Compute causal attention of each row to itself.

    Args:
        query: [1, heads, positions, width].
        key: [1, key heads, positions, width]; the number of query heads is a multiple of the key heads.
        value: shaped like the key.
        lengths: lengths of the rows, which follow each other along the positions.
        scale: factor of the scores.

    Returns:
        [1, positions, heads, width].
    """
    # torch has no types for it
    attended: torch.Tensor = _Blockwise.apply(query, key, value, tuple(lengths), scale)  # type: ignore[no-untyped-call]
    return attended


def repeat_heads(part: torch.Tensor, heads: int) -> torch.Tensor:
    """Repeat keys or values [1, key heads, positions, width] for the query heads that share them."""
    return part.repeat_interleave(heads // part.shape[1], dim=1)


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (what a call of the function passes)
        context: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        lengths: tuple[int, ...],
        scale: float,
    ) -> torch.Tensor:
        _, heads, positions, width = query.shape
        # the forward kernel needs as many key heads as query heads
        keys, values = (repeat_heads(part, heads) for part in (key, value))
        out = query.new_empty(1, positions, heads, width)
        normalisers = []
        for row in _row_slices(lengths):
            attended, normaliser = _flash(
                query[:, :, row], keys[:, :, row], values[:, :, row], 0.0, True, scale=scale
            )
            out[:, row] = attended.transpose(1, 2)
            normalisers.append(normaliser)
        context.save_for_backward(query, key, value, out, *normalisers)
        context.lengths, context.scale = lengths, scale
        return out

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, out, *normalisers = context.saved_tensors
        d_query, d_key, d_value = (torch.empty_like(part) for part in (query, key, value))
        for row, normaliser in zip(_row_slices(context.lengths), normalisers, strict=True):
            d_query[0, :, row], d_key[0, :, row], d_value[0, :, row] = _row_gradients(
                query[0, :, row],
                key[0, :, row],
                value[0, :, row],
                out[0, row].transpose(0, 1),
                gradients[0][0, row].transpose(0, 1),
                normaliser[0],
                context.scale,
            )
        return d_query, d_key, d_value, None, None


def _row_gradients(  # noqa: PLR0917 (the parts of one formula)
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    gradient: torch.Tensor,
    normaliser: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the gradients of one row's queries, keys and values, all [heads, positions, width]."""
    heads, length, width = query.shape
    groups = key.shape[0]
    shared = heads // groups
    key, value = key.contiguous(), value.contiguous()
    query = (query * scale).view(groups, shared, length, width)
    mean = (gradient.float() * out.float()).sum(-1)
    gradient = gradient.reshape(groups, shared, length, width)
    negative_mean, negative_normaliser = (
        part.neg().to(query.dtype).view(groups, shared, length, 1) for part in (mean, normaliser)
    )
    d_query = query.new_empty(groups, shared, length, width)
    d_key, d_value = (query.new_zeros(groups, length, width, dtype=torch.float32) for _ in range(2))
    for begin in range(0, length, BLOCK):
        end = min(length, begin + BLOCK)
        # [groups, queries of all heads that share keys, ...]; only keys up to the block's end
        of_query, of_gradient, of_mean, of_normaliser = (
            part[:, :, begin:end].flatten(1, 2)
            for part in (query, gradient, negative_mean, negative_normaliser)
        )
        to_key, to_value = key[:, :end], value[:, :end]
        weights = torch.baddbmm(of_normaliser, of_query, to_key.transpose(1, 2)).exp_()
        weights.view(groups, shared, -1, end)[..., begin:].tril_()
        of_scores = torch.baddbmm(of_mean, of_gradient, to_value.transpose(1, 2)).mul_(weights)
        d_query[:, :, begin:end] = torch.bmm(of_scores, to_key).view(groups, shared, -1, width)
        d_key[:, :end] += torch.bmm(of_scores.transpose(1, 2), of_query)
        d_value[:, :end] += torch.bmm(weights.transpose(1, 2), of_gradient)
    return d_query.flatten(0, 1).mul_(scale), d_key.to(key.dtype), d_value.to(value.dtype)


def _row_slices(lengths: Sequence[int]) -> list[slice]:
    return [slice(*ends) for ends in itertools.pairwise([0, *itertools.accumulate(lengths)])]
