"""Many rows in one sequence without a padding token, each seeing only itself.

The linear layers, which are most of the work, run over all rows at once; attention runs row by row, so what
one story says cannot reach another, not even through rounding. Places start at 0 in every row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

from training_code import blockwise

NAME = "storyloom_packed"

_PROBE_LENGTHS = (5, 3)


@dataclass
class _Layout:
    """Lengths of the rows in the sequence that is in the model now."""

    lengths: tuple[int, ...] = ()


_layout = _Layout()


def set_lengths(lengths: Sequence[int]) -> None:
    """Say how the next sequence is divided. It holds until the next call: a backward pass may look again."""
    _layout.lengths = tuple(lengths)


def use_packed_attention(model: Any) -> bool:
    """Switch a model to attention row by row; False, with nothing changed, where that gives other logits.

    It is found out on two rows of a few tokens: some models add to their attention what is not known here.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    before = model.config._attn_implementation
    rows = [torch.arange(length, device=device)[None] + 7 for length in _PROBE_LENGTHS]
    with torch.no_grad():
        expected = torch.cat([model(input_ids=row, use_cache=False).logits for row in rows], dim=1).float()
        model.set_attn_implementation(NAME)
        set_lengths(_PROBE_LENGTHS)
        places = torch.cat([torch.arange(length, device=device) for length in _PROBE_LENGTHS])[None]
        packed = model(input_ids=torch.cat(rows, dim=1), position_ids=places, use_cache=False).logits.float()
    model.train(was_training)
    largest = float(expected.abs().max())
    # Logits that are no numbers tell nothing, here; the loss will say what is wrong with them.
    if not math.isfinite(largest) or torch.allclose(packed, expected, rtol=2e-2, atol=2e-2 * largest):
        return True
    model.set_attn_implementation(before)
    return False


# The lengths differ from step to step, and each would be compiled anew.
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
    """Attention of each row to itself; query [1, heads, places, width], key and value with fewer heads."""
    longest = max(_layout.lengths)
    if not dropout and (sliding_window is None or longest <= sliding_window) and blockwise.can_attend(query):
        width = query.shape[3]
        return blockwise.attend(query, key, value, _layout.lengths, scaling or width**-0.5), None
    grouped = query.shape[1] != key.shape[1]
    if grouped and query.device.type == "cpu":  # the fast kernel there wants as many keys as queries
        key, value = (blockwise.repeated(part, query.shape[1]) for part in (key, value))
        grouped = False
    # Split at once: the gradients of slices would each be a tensor of all places, mostly zeros, to add up.
    rows = zip(
        *(torch.split(part, list(_layout.lengths), dim=2) for part in (query, key, value)), strict=True
    )
    attended = [
        functional.scaled_dot_product_attention(
            of_row,
            to_row,
            value_of_row,
            attn_mask=(near := _near(of_row.shape[2], sliding_window, query.device)),
            is_causal=near is None,
            scale=scaling,
            dropout_p=dropout,
            enable_gqa=grouped,
        )
        for of_row, to_row, value_of_row in rows
    ]
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


def _near(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """A mask for attention that reaches back so many places only; None where the row is not longer."""
    if window is None or length <= window:
        return None
    distance = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return (distance >= 0) & (distance < window)


AttentionInterface.register(NAME, _attend)
