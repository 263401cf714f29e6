"""Blockwise attention has the gradients of plain attention, and none between rows."""

import itertools

import pytest
import torch
from torch.nn import functional

from storyloom_jobs.cpu import kernels

HEADS, KEY_HEADS, WIDTH = 6, 2, 16
LENGTHS = [(1,), (kernels.BLOCK,), (kernels.BLOCK + 1, 5), (300, 1, 131)]


def parts(places: int) -> list[torch.Tensor]:
    torch.manual_seed(places)
    return [
        torch.randn(1, places, heads, WIDTH).bfloat16().transpose(1, 2).requires_grad_()
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


def plain(parts: list[torch.Tensor], lengths: tuple[int, ...]) -> torch.Tensor:
    """Compute the same in fp32 with PyTorch's own function, row by row."""
    rows = [slice(*ends) for ends in itertools.pairwise([0, *itertools.accumulate(lengths)])]
    query, key, value = parts
    attended = [
        functional.scaled_dot_product_attention(
            query[:, :, row], key[:, :, row], value[:, :, row], is_causal=True, scale=0.3, enable_gqa=True
        )
        for row in rows
    ]
    return torch.cat(attended, dim=2).transpose(1, 2)


def attend(parts: list[torch.Tensor], lengths: tuple[int, ...]) -> torch.Tensor:
    query, key, value = parts
    return kernels.blockwise_attention(query, key, value, lengths, 0.3)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_output_and_gradients_are_those_of_plain_attention(lengths: tuple[int, ...]) -> None:
    ours = parts(sum(lengths))
    exact = [part.detach().float().requires_grad_() for part in ours]
    upstream = torch.randn(1, sum(lengths), HEADS, WIDTH).bfloat16()

    attended = attend(ours, lengths)
    expected = plain(exact, lengths)
    torch.autograd.backward(attended, upstream)
    torch.autograd.backward(expected, upstream.float())

    assert error(attended, expected) < 0.01
    for part, other in zip(ours, exact, strict=True):
        assert part.grad is not None and other.grad is not None
        assert part.grad.dtype == torch.bfloat16
        if float(other.grad.norm()) > 1e-3:
            assert error(part.grad, other.grad) < 0.02
        else:  # a row of one token attends to itself whatever its query
            assert float(part.grad.norm()) < 0.02 * float(upstream.norm())


def error(value: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((value.float() - expected).norm() / expected.norm()).detach())


def test_one_row_does_not_change_the_gradients_of_another_by_a_bit() -> None:
    lengths = (150, 90)
    gradients = []
    for changed in (False, True):
        ours = parts(sum(lengths))
        if changed:
            with torch.no_grad():
                for part in ours:
                    part[:, :, lengths[0] :] += 3
        torch.autograd.backward(attend(ours, lengths).float().square().sum())
        gradients.append([part.grad[:, :, : lengths[0]] for part in ours if part.grad is not None])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
