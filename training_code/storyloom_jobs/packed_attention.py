"""Attention for packed sequences: many rows in one sequence without padding, each attending only to itself.

The linear layers, which are most of the work, run over all rows at once. Attention runs row by row, so that
one story cannot influence another, not even through rounding. Positions start at 0 in every row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

from storyloom_jobs.cpu import kernels

NAME = "storyloom_packed"

_PROBE_LENGTHS = (5, 3)


@dataclass
class _Layout:
    """Lengths of the rows in the model's current sequence."""

    lengths: tuple[int, ...] = ()


_layout = _Layout()


def set_row_lengths(lengths: Sequence[int]) -> None:
    """Set the row lengths of the next sequence. They stay set, because the backward pass needs them."""
    _layout.lengths = tuple(lengths)


def use_packed_attention(model: Any) -> bool:
    """Switch a model to packed attention; return False and change nothing if its logits would differ.

    Two short rows show whether they do: some architectures modify their attention in ways that are not
    handled here.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    before = model.config._attn_implementation
    rows = [torch.arange(length, device=device)[None] + 7 for length in _PROBE_LENGTHS]
    with torch.no_grad():
        expected = torch.cat([model(input_ids=row, use_cache=False).logits for row in rows], dim=1).float()
        model.set_attn_implementation(NAME)
        set_row_lengths(_PROBE_LENGTHS)
        positions = torch.cat([torch.arange(length, device=device) for length in _PROBE_LENGTHS])[None]
        packed = model(
            input_ids=torch.cat(rows, dim=1), position_ids=positions, use_cache=False
        ).logits.float()
    model.train(was_training)
    largest = float(expected.abs().max())
    # Logits that are not finite prove nothing here; the loss check reports them.
    if not math.isfinite(largest) or torch.allclose(packed, expected, rtol=2e-2, atol=2e-2 * largest):
        return True
    model.set_attn_implementation(before)
    return False


# The lengths differ from step to step, and each combination would be compiled again.
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch has no types for it
def _attend(  # noqa: PLR0917 (the signature that transformers calls)
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each row; query is [1, heads, positions, width], key and value may have fewer heads."""
    longest = max(_layout.lengths)
    if (
        not dropout
        and (sliding_window is None or longest <= sliding_window)
        and kernels.supports_blockwise(query)
    ):
        width = query.shape[3]
        return kernels.blockwise_attention(query, key, value, _layout.lengths, scaling or width**-0.5), None
    grouped = query.shape[1] != key.shape[1]
    if grouped and query.device.type == "cpu":  # its fast kernel needs as many key heads as query heads
        key, value = (kernels.repeat_heads(part, query.shape[1]) for part in (key, value))
        grouped = False
    # torch.split, because the gradient of each slice would be a tensor of all positions, mostly zeros.
    rows = zip(
        *(torch.split(part, list(_layout.lengths), dim=2) for part in (query, key, value)), strict=True
    )
    attended = [
        functional.scaled_dot_product_attention(
            of_row,
            to_row,
            value_of_row,
            attn_mask=(window_mask := _sliding_window_mask(of_row.shape[2], sliding_window, query.device)),
            is_causal=window_mask is None,
            scale=scaling,
            dropout_p=dropout,
            enable_gqa=grouped,
        )
        for of_row, to_row, value_of_row in rows
    ]
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


def _sliding_window_mask(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Make the mask of sliding window attention; None if the row is not longer than the window."""
    if window is None or length <= window:
        return None
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return (distance >= 0) & (distance < window)


AttentionInterface.register(NAME, _attend)
