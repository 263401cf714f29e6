"""Attention on a CPU in bf16, whose backward pass is a few matrix products for each block of queries.

PyTorch's own backward pass there takes six times as long as its forward pass; products as large as these run
at the speed of the processor's matrix unit. The formulas are those of FlashAttention (arXiv 2205.14135,
appendix B): with P = exp(s Q Kᵀ - L), where L is each query's log-sum-exp, dV = Pᵀ dO,
dS = P ∘ (dO Vᵀ - rowsum(dO ∘ O)), dQ = s dS K and dK = s dSᵀ Q. Query heads that share keys are rows of one
product, so keys and values are never repeated there.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch

BLOCK = 128
"""Queries at once: their scores stay in the cache, and most of what they must not see is not computed."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def can_attend(query: torch.Tensor) -> bool:
    """Whether this is the faster way: in fp32 it is hardly, and a GPU has kernels of its own."""
    return query.device.type == "cpu" and query.dtype == torch.bfloat16 and torch.is_grad_enabled()


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: Sequence[int], scale: float
) -> torch.Tensor:
    """Causal attention of each row to itself.

    Args:
        query: [1, heads, places, width].
        key: [1, fewer heads, places, width]; their number divides that of the query's heads.
        value: as the key.
        lengths: of the rows, which stand one after another in the places.
        scale: of the scores.

    Returns:
        [1, places, heads, width].
    """
    # torch has no types for it
    attended: torch.Tensor = _Blockwise.apply(query, key, value, tuple(lengths), scale)  # type: ignore[no-untyped-call]
    return attended


def repeated(part: torch.Tensor, heads: int) -> torch.Tensor:
    """Keys or values [1, fewer heads, places, width], each repeated for the heads that share it."""
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
        _, heads, places, width = query.shape
        # the forward kernel wants as many keys as queries
        keys, values = (repeated(part, heads) for part in (key, value))
        out = query.new_empty(1, places, heads, width)
        normalisers = []
        for row in _rows(lengths):
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
        for row, normaliser in zip(_rows(context.lengths), normalisers, strict=True):
            d_query[0, :, row], d_key[0, :, row], d_value[0, :, row] = _of_row(
                query[0, :, row],
                key[0, :, row],
                value[0, :, row],
                out[0, row].transpose(0, 1),
                gradients[0][0, row].transpose(0, 1),
                normaliser[0],
                context.scale,
            )
        return d_query, d_key, d_value, None, None


def _of_row(  # noqa: PLR0917 (the parts of one formula)
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    gradient: torch.Tensor,
    normaliser: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of one row's queries, keys and values, all [heads, places, width]."""
    heads, length, width = query.shape
    groups = key.shape[0]
    shared = heads // groups
    key, value = key.contiguous(), value.contiguous()
    query = (query * scale).view(groups, shared, length, width)
    mean = (gradient.float() * out.float()).sum(-1)
    gradient = gradient.reshape(groups, shared, length, width)
    less_mean, less_normaliser = (
        part.neg().to(query.dtype).view(groups, shared, length, 1) for part in (mean, normaliser)
    )
    d_query = query.new_empty(groups, shared, length, width)
    d_key, d_value = (query.new_zeros(groups, length, width, dtype=torch.float32) for _ in range(2))
    for begin in range(0, length, BLOCK):
        end = min(length, begin + BLOCK)
        # [groups, queries of all heads that share, ...], and of keys only those before the block's end
        of_query, of_gradient, of_mean, of_normaliser = (
            part[:, :, begin:end].flatten(1, 2) for part in (query, gradient, less_mean, less_normaliser)
        )
        to_key, to_value = key[:, :end], value[:, :end]
        weights = torch.baddbmm(of_normaliser, of_query, to_key.transpose(1, 2)).exp_()
        weights.view(groups, shared, -1, end)[..., begin:].tril_()
        of_scores = torch.baddbmm(of_mean, of_gradient, to_value.transpose(1, 2)).mul_(weights)
        d_query[:, :, begin:end] = torch.bmm(of_scores, to_key).view(groups, shared, -1, width)
        d_key[:, :end] += torch.bmm(of_scores.transpose(1, 2), of_query)
        d_value[:, :end] += torch.bmm(weights.transpose(1, 2), of_gradient)
    return d_query.flatten(0, 1).mul_(scale), d_key.to(key.dtype), d_value.to(value.dtype)


def _rows(lengths: Sequence[int]) -> list[slice]:
    return [slice(*ends) for ends in itertools.pairwise([0, *itertools.accumulate(lengths)])]
