"""How surprised a model is by text it has not seen."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from training_code.data import Batch
from training_code.loss import ChunkedLoss


@dataclass(frozen=True)
class Surprise:
    """The sum of the token losses in nats, over how many tokens and batches."""

    nats: float
    tokens: int
    batches: int

    @property
    def loss(self) -> float:
        """Mean loss of a token."""
        return self.nats / max(1, self.tokens)

    @property
    def perplexity(self) -> float:
        """As if the model had to choose among this many equally likely tokens at each place."""
        return math.exp(min(self.loss, 700.0))


@torch.no_grad()
def measure(losses: ChunkedLoss, batches: Iterable[Batch], seconds: float = math.inf) -> Surprise:
    """Run over the batches, or as many as `seconds` allow (at least one), in evaluation mode."""
    was_training = losses.model.training
    losses.model.eval()
    deadline = time.monotonic() + seconds
    nats, tokens, count = 0.0, 0, 0
    for batch in batches:
        nats += losses.total(batch)
        tokens += batch.taught_tokens
        count += 1
        if time.monotonic() > deadline:
            break
    losses.model.train(was_training)
    return Surprise(nats, tokens, count)
