"""How far a difference between two models could be chance: a paired bootstrap over the held-out stories.

The stories are drawn anew, with replacement, some thousand times; each time both models are compared on the
same stories. Where 95% of the differences lie is the interval (Efron and Tibshirani, An Introduction to the
Bootstrap, chapter 13).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from training_code.perplexity import RowSurprise

DRAWS = 4000
CONFIDENCE = 0.95
FEWEST = 4
"""With fewer stories, passages are drawn in their place; with fewer passages, nothing can be told."""

Unit = Literal["story", "passage"]


@dataclass(frozen=True)
class Interval:
    """Where the value lies in 95% of the draws."""

    low: float
    high: float


@dataclass(frozen=True)
class Sums:
    """What is drawn: stories, or passages of them. Index i means the same story for every model."""

    unit: Unit
    tokens: tuple[int, ...]
    nats: dict[str, tuple[float, ...]]
    """Of each model."""


def gather(
    stories: Sequence[str], examples: Sequence[int], rows: dict[str, Sequence[RowSurprise]]
) -> Sums | None:
    """Add up the rows of each story, or of each example where there are too few stories.

    Args:
        stories: the story of each row.
        examples: the number of the example that each row is cut from.
        rows: of each model, the same rows in the same order; the first ones where time was short.

    Returns:
        None where there are not even enough examples.
    """
    scored = min(len(of_model) for of_model in rows.values())
    choices: list[tuple[Unit, Sequence[object]]] = [("story", stories), ("passage", examples)]
    for unit, keys in choices:
        order = {key: place for place, key in enumerate(dict.fromkeys(keys[:scored]))}
        if len(order) < FEWEST:
            continue
        tokens = [0] * len(order)
        nats = {name: [0.0] * len(order) for name in rows}
        for number, key in enumerate(keys[:scored]):
            tokens[order[key]] += next(iter(rows.values()))[number].tokens
            for name, of_model in rows.items():
                nats[name][order[key]] += of_model[number].nats
        return Sums(unit, tuple(tokens), {name: tuple(sums) for name, sums in nats.items()})
    return None


def perplexity_interval(sums: Sums, name: str, seed: int) -> Interval:
    """Where a model's perplexity lies."""
    return _interval(torch.exp(_mean_losses(sums, name, seed).clamp(max=700.0)))


def improvement_interval(sums: Sums, name: str, over: str, seed: int) -> Interval:
    """Where the percentage lies by which a model's perplexity is lower than that of another.

    Both are drawn together: how hard a story is for any model cancels out.
    """
    difference = _mean_losses(sums, name, seed) - _mean_losses(sums, over, seed)
    return _interval(100 * (1 - torch.exp(difference.clamp(max=700.0))))


def _mean_losses(sums: Sums, name: str, seed: int) -> torch.Tensor:
    """The mean loss of a token in each draw [DRAWS]; the same draws for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.tensor(sums.tokens, dtype=torch.float64)
    nats = torch.tensor(sums.nats[name], dtype=torch.float64)
    means = []
    for _ in range(DRAWS // 100):  # of ten thousand stories, all draws at once would be too much
        drawn = torch.randint(len(tokens), (100, len(tokens)), generator=generator)
        means.append(nats[drawn].sum(dim=1) / tokens[drawn].sum(dim=1))
    return torch.cat(means)


def _interval(values: torch.Tensor) -> Interval:
    outside = (1 - CONFIDENCE) / 2
    low, high = torch.quantile(values, torch.tensor([outside, 1 - outside], dtype=values.dtype)).tolist()
    return Interval(low, high)
