"""Confidence intervals by a paired bootstrap over the held-out stories.

The stories are resampled with replacement a few thousand times, and both models are compared on the same
resample. The interval holds 95% of the results (Efron and Tibshirani, An Introduction to the Bootstrap,
chapter 13).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from storyloom_jobs.loss import RowLoss

NUM_RESAMPLES = 4000
CONFIDENCE = 0.95
MIN_UNITS = 4
"""With fewer stories, passages are resampled instead; with fewer passages, there is no interval."""

Unit = Literal["story", "passage"]


@dataclass(frozen=True)
class Interval:
    """The range that holds 95% of the resampled values."""

    low: float
    high: float


@dataclass(frozen=True)
class UnitLosses:
    """Losses per story or per passage. An index means the same story for every model."""

    unit: Unit
    num_tokens: tuple[int, ...]
    nats: dict[str, tuple[float, ...]]
    """Sums of token losses, by model."""


def sum_by_unit(
    stories: Sequence[str], examples: Sequence[int], rows: dict[str, Sequence[RowLoss]]
) -> UnitLosses | None:
    """Sum the row losses by story, or by example if there are too few stories.

    Args:
        stories: story of each row.
        examples: number of the example that each row is cut from.
        rows: row losses of each model, for the same rows in the same order; only the first rows if time was
            short.

    Returns:
        None if there are too few examples as well.
    """
    scored = min(len(of_model) for of_model in rows.values())
    choices: list[tuple[Unit, Sequence[object]]] = [("story", stories), ("passage", examples)]
    for unit, keys in choices:
        order = {key: index for index, key in enumerate(dict.fromkeys(keys[:scored]))}
        if len(order) < MIN_UNITS:
            continue
        tokens = [0] * len(order)
        nats = {name: [0.0] * len(order) for name in rows}
        for number, key in enumerate(keys[:scored]):
            tokens[order[key]] += next(iter(rows.values()))[number].num_tokens
            for name, of_model in rows.items():
                nats[name][order[key]] += of_model[number].nats
        return UnitLosses(unit, tuple(tokens), {name: tuple(sums) for name, sums in nats.items()})
    return None


def perplexity_interval(losses: UnitLosses, name: str, seed: int) -> Interval:
    """Return the interval of a model's perplexity."""
    return _interval(torch.exp(_mean_losses(losses, name, seed).clamp(max=700.0)))


def improvement_interval(losses: UnitLosses, name: str, over: str, seed: int) -> Interval:
    """Return the interval of the percentage by which a model's perplexity is lower than another's.

    Both models use the same resamples, so the difficulty of a story cancels out.
    """
    difference = _mean_losses(losses, name, seed) - _mean_losses(losses, over, seed)
    return _interval(100 * (1 - torch.exp(difference.clamp(max=700.0))))


def _mean_losses(losses: UnitLosses, name: str, seed: int) -> torch.Tensor:
    """Compute the mean token loss of each resample [NUM_RESAMPLES]; equal seeds give equal resamples."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.tensor(losses.num_tokens, dtype=torch.float64)
    nats = torch.tensor(losses.nats[name], dtype=torch.float64)
    means = []
    for _ in range(
        NUM_RESAMPLES // 100
    ):  # all resamples of ten thousand stories at once would take too much memory
        drawn = torch.randint(len(tokens), (100, len(tokens)), generator=generator)
        means.append(nats[drawn].sum(dim=1) / tokens[drawn].sum(dim=1))
    return torch.cat(means)


def _interval(values: torch.Tensor) -> Interval:
    outside = (1 - CONFIDENCE) / 2
    low, high = torch.quantile(values, torch.tensor([outside, 1 - outside], dtype=values.dtype)).tolist()
    return Interval(low, high)
