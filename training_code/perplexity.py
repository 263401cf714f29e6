"""How surprised a model is by text it has not seen: in all, passage by passage, and at the stories' ends."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from training_code.data import NOT_TAUGHT, Batch
from training_code.loss import ChunkedLoss


@dataclass(frozen=True)
class RowSurprise:
    """The sum of one row's token losses in nats, over how many taught tokens."""

    nats: float
    tokens: int
    endings: tuple[float, ...] = ()
    """At each end token of the row, the chance the model gives to ending there, from 0 to 1."""


@dataclass(frozen=True)
class Surprise:
    """The sum of the token losses in nats, over how many tokens and batches."""

    nats: float
    tokens: int
    batches: int
    rows: tuple[RowSurprise, ...] = ()
    """In the batches' order."""

    @property
    def loss(self) -> float:
        """Mean loss of a token."""
        return self.nats / max(1, self.tokens)

    @property
    def perplexity(self) -> float:
        """As if the model had to choose among this many equally likely tokens at each place."""
        return math.exp(min(self.loss, 700.0))

    @property
    def ending_chance(self) -> float | None:
        """The mean chance of ending where a story ends, from 0 to 1; None where no story ends."""
        endings = [chance for row in self.rows for chance in row.endings]
        return sum(endings) / len(endings) if endings else None


@torch.no_grad()
def measure(
    losses: ChunkedLoss,
    batches: Iterable[Batch],
    seconds: float = math.inf,
    end_tokens: frozenset[int] = frozenset(),
) -> Surprise:
    """Run over the batches, or as many as `seconds` allow (at least one), in evaluation mode."""
    was_training = losses.model.training
    losses.model.eval()
    deadline = time.monotonic() + seconds
    rows: list[RowSurprise] = []
    count = 0
    for batch in batches:
        rows += _rows(losses.of_tokens(batch).double().cpu(), batch, end_tokens)
        count += 1
        if time.monotonic() > deadline:
            break
    losses.model.train(was_training)
    nats, tokens = sum(row.nats for row in rows), sum(row.tokens for row in rows)
    return Surprise(nats, tokens, count, tuple(rows))


def _rows(token_losses: torch.Tensor, batch: Batch, end_tokens: frozenset[int]) -> list[RowSurprise]:
    """Divide a batch's losses [taught] among its rows."""
    rows = []
    for labels in torch.split(batch.labels[0].cpu(), list(batch.lengths)):
        taught = labels[labels != NOT_TAUGHT].tolist()
        own, token_losses = token_losses[: len(taught)], token_losses[len(taught) :]
        rows.append(RowSurprise(float(own.sum()), len(taught), _endings(own, taught, end_tokens)))
    return rows


def _endings(losses: torch.Tensor, taught: Sequence[int], end_tokens: frozenset[int]) -> tuple[float, ...]:
    return tuple(
        math.exp(-float(loss)) for loss, token in zip(losses, taught, strict=True) if token in end_tokens
    )
