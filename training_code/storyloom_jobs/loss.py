"""Cross-entropy in chunks, so that the logits of a whole batch never exist at once; and perplexity.

For a small model with a large vocabulary the logits are the largest tensor by far: 2,048 tokens times 49,152
words in fp32 are 400 MB, and their gradient as much again. Here the output head runs over a few hundred
tokens at a time, and only over those that count in the loss.
"""

import inspect
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn import functional

from storyloom_jobs import packed_attention
from storyloom_jobs.tokenization import IGNORE_INDEX, TokenBatch

CHUNK_TOKENS = 256
_CPU_ROWS = 16
"""Rows of a chunk's logits that a processor turns into gradients at a time, because they fit its cache in
fp32."""

Reduction = Literal["sum", "none"]


class ChunkedLoss:
    """Computes the loss of a causal language model, with or without a LoRA adapter."""

    def __init__(self, model: Any) -> None:
        """Check on eight tokens whether the model's output head can be applied separately."""
        self.model = model
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._body = causal.base_model
        self._head = causal.get_output_embeddings()
        self._marks_images = _marks_images(causal)
        self._is_head_separable = self._check_head(causal)

    def backward(self, batch: TokenBatch, divisor: float) -> float:
        """Add the gradient of (sum of token losses) / `divisor` to the parameters, and return that loss.

        The gradient at the head's input is computed chunk by chunk and then sent through the body once.
        """
        if not self._is_head_separable:
            loss = self._unchunked_loss(batch) / divisor
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())
        hidden, labels = self._hidden_states(batch)
        gradient = torch.empty_like(hidden)
        total = 0.0
        for chunk in _chunks(len(labels)):
            chunk_loss, gradient[chunk] = self._loss_and_gradient(hidden[chunk].detach(), labels[chunk])
            total += chunk_loss
        hidden.backward(gradient.div_(divisor))  # type: ignore[no-untyped-call]
        return total / divisor

    def total_loss(self, batch: TokenBatch) -> float:
        """Return the sum of the batch's token losses, in nats."""
        return float(self.token_losses(batch).sum())

    @torch.no_grad()
    def token_losses(self, batch: TokenBatch) -> torch.Tensor:
        """Return the loss of each token that counts, in nats [loss tokens], in their order."""
        if not self._is_head_separable:
            losses = self._unchunked_loss(batch, "none")
            return losses[batch.labels.flatten() != IGNORE_INDEX]
        hidden, labels = self._hidden_states(batch)
        chunks = [
            self._cross_entropy(self._head(hidden[chunk]), labels[chunk], "none")
            for chunk in _chunks(len(labels))
        ]
        return torch.cat(chunks) if chunks else hidden.new_zeros(0)

    @torch.no_grad()
    def _loss_and_gradient(self, hidden: torch.Tensor, labels: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Return the loss of a chunk, and its gradient for `hidden` [loss tokens, width].

        The gradient of cross-entropy with respect to the logits is softmax minus one at the label. It
        overwrites the logits, while autograd would keep both.
        """
        logits = self._head(hidden)
        loss = torch.zeros((), device=logits.device)
        at_once = _CPU_ROWS if logits.device.type == "cpu" else CHUNK_TOKENS
        for rows in _chunks(len(labels), at_once):
            part, label = logits[rows].float(), labels[rows, None]
            chosen = part.gather(1, label)
            largest = part.amax(dim=1, keepdim=True)
            normaliser = part.sub_(largest).exp_().sum(dim=1, keepdim=True)
            loss += (normaliser.log() + largest - chosen).sum()
            logits[rows] = part.div_(normaliser).scatter_add_(1, label, torch.full_like(chosen, -1.0))
        weight = self._head.weight
        return float(loss), (logits.to(weight.dtype) @ weight).to(hidden.dtype)

    def _hidden_states(self, batch: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the head's input [loss tokens, width] and labels of the tokens that count."""
        packed_attention.set_row_lengths(batch.lengths)
        hidden = self._body(**self._inputs(batch)).last_hidden_state
        counts = batch.labels != IGNORE_INDEX
        return hidden[counts], batch.labels[counts]

    def _unchunked_loss(self, batch: TokenBatch, reduction: Reduction = "sum") -> torch.Tensor:
        packed_attention.set_row_lengths(batch.lengths)
        logits = self.model(**self._inputs(batch)).logits
        return self._cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), reduction)

    def _inputs(self, batch: TokenBatch) -> dict[str, Any]:
        """Return the model's inputs; for a model that also reads images, mark that there are none."""
        text = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "use_cache": False}
        if self._marks_images and self.model.training:
            text["token_type_ids"] = torch.zeros_like(batch.input_ids)
        return text

    @staticmethod
    def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor, reduction: Reduction) -> torch.Tensor:
        return functional.cross_entropy(
            logits.float(), labels, ignore_index=IGNORE_INDEX, reduction=reduction
        )

    @torch.no_grad()
    def _check_head(self, causal: Any) -> bool:
        """Check that the head is frozen and gives the model's logits; some models cap them afterwards."""
        probe = torch.arange(8, device=causal.device)[None]
        packed_attention.set_row_lengths([8])
        expected = causal(input_ids=probe, use_cache=False).logits.float()
        if type(self._head) is not torch.nn.Linear or self._head.weight.requires_grad:
            return False
        hidden = self._body(input_ids=probe, use_cache=False).last_hidden_state
        return bool(torch.allclose(self._head(hidden).float(), expected, rtol=1e-2, atol=1e-2))


def _marks_images(causal: Any) -> bool:
    """Check whether a model requires marked image tokens in training, as the larger Gemma 3 models do.

    GPT-2 has an input of the same name with another meaning: it would add an embedding.
    """
    has_input = "token_type_ids" in inspect.signature(causal.forward).parameters
    return has_input and hasattr(causal.config, "vision_config")


def _chunks(length: int, size: int = CHUNK_TOKENS) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))


@dataclass(frozen=True)
class RowLoss:
    """Sum of one row's token losses."""

    nats: float
    num_tokens: int
    ending_probabilities: tuple[float, ...] = ()
    """Probability that the model gives to each end token of the row, from 0 to 1."""


@dataclass(frozen=True)
class LossSum:
    """Sum of token losses over several batches."""

    nats: float
    num_tokens: int
    num_batches: int
    rows: tuple[RowLoss, ...] = ()
    """Losses of the rows, in the order of the batches."""

    @property
    def mean(self) -> float:
        """Return the mean loss of a token."""
        return self.nats / max(1, self.num_tokens)

    @property
    def perplexity(self) -> float:
        """Return the perplexity: between how many equally likely tokens the model wavers at each position."""
        return math.exp(min(self.mean, 700.0))

    @property
    def ending_probability(self) -> float | None:
        """Return the mean probability of ending where a story ends, from 0 to 1; None if no story ends."""
        endings = [probability for row in self.rows for probability in row.ending_probabilities]
        return sum(endings) / len(endings) if endings else None


@torch.no_grad()
def measure_loss(
    losses: ChunkedLoss,
    batches: Iterable[TokenBatch],
    seconds: float = math.inf,
    end_tokens: frozenset[int] = frozenset(),
) -> LossSum:
    """Measure the loss in evaluation mode, over as many of the batches as `seconds` allow (at least one)."""
    was_training = losses.model.training
    losses.model.eval()
    deadline = time.monotonic() + seconds
    rows: list[RowLoss] = []
    count = 0
    for batch in batches:
        rows += _split_by_row(losses.token_losses(batch).double().cpu(), batch, end_tokens)
        count += 1
        if time.monotonic() > deadline:
            break
    losses.model.train(was_training)
    nats, tokens = sum(row.nats for row in rows), sum(row.num_tokens for row in rows)
    return LossSum(nats, tokens, count, tuple(rows))


def _split_by_row(token_losses: torch.Tensor, batch: TokenBatch, end_tokens: frozenset[int]) -> list[RowLoss]:
    """Divide a batch's token losses [loss tokens] among its rows."""
    rows = []
    for labels in torch.split(batch.labels[0].cpu(), list(batch.lengths)):
        tokens = labels[labels != IGNORE_INDEX].tolist()
        own, token_losses = token_losses[: len(tokens)], token_losses[len(tokens) :]
        rows.append(RowLoss(float(own.sum()), len(tokens), _ending_probabilities(own, tokens, end_tokens)))
    return rows


def _ending_probabilities(
    losses: torch.Tensor, tokens: Sequence[int], end_tokens: frozenset[int]
) -> tuple[float, ...]:
    return tuple(
        math.exp(-float(loss)) for loss, token in zip(losses, tokens, strict=True) if token in end_tokens
    )
