"""Cross-entropy in pieces, so that the logits of a whole batch never exist at once.

For a small model with a large vocabulary they are the largest tensor by far: 2,048 tokens times 49,152
words in fp32 are 400 MB, and their gradient as much again. Here the head runs over a few hundred taught
tokens at a time; prompts and padding never reach it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional

from training_code.data import NOT_TAUGHT, Batch

CHUNK_TOKENS = 256


class ChunkedLoss:
    """The loss of a causal language model, with or without a LoRA adapter on it."""

    def __init__(self, model: Any) -> None:
        """Raises nothing; measures on eight tokens whether the model's head may be applied apart."""
        self.model = model
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._body = causal.base_model
        self._head = causal.get_output_embeddings()
        self._head_is_plain = self._measure_head(causal)

    def backward(self, batch: Batch, divisor: float) -> float:
        """Add the gradient of (sum of token losses) / `divisor` to the parameters; returns that loss.

        The gradient at the head's input is gathered piece by piece and then sent through the body once.
        """
        if not self._head_is_plain:
            loss = self._whole(batch) / divisor
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())
        hidden, labels = self._taught(batch)
        gathered = torch.empty_like(hidden)
        total = 0.0
        for piece in _pieces(len(labels)):
            part = hidden[piece].detach().requires_grad_()
            loss = self._cross_entropy(self._head(part), labels[piece]) / divisor
            loss.backward()  # type: ignore[no-untyped-call]
            assert part.grad is not None  # noqa: S101 (backward has just set it)
            gathered[piece] = part.grad
            total += float(loss.detach())
        hidden.backward(gathered)  # type: ignore[no-untyped-call]
        return total

    @torch.no_grad()
    def total(self, batch: Batch) -> float:
        """The sum of the losses of the batch's taught tokens, in nats."""
        if not self._head_is_plain:
            return float(self._whole(batch))
        hidden, labels = self._taught(batch)
        pieces = _pieces(len(labels))
        return sum(float(self._cross_entropy(self._head(hidden[piece]), labels[piece])) for piece in pieces)

    def _taught(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What the head would read where a token is taught [taught, width], and those tokens [taught]."""
        hidden = self._body(input_ids=batch.input_ids, use_cache=False).last_hidden_state
        taught = batch.labels != NOT_TAUGHT
        return hidden[taught], batch.labels[taught]

    def _whole(self, batch: Batch) -> torch.Tensor:
        logits = self.model(input_ids=batch.input_ids, use_cache=False).logits
        return self._cross_entropy(logits.flatten(0, 1), batch.labels.flatten())

    @staticmethod
    def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits.float(), labels, ignore_index=NOT_TAUGHT, reduction="sum")

    @torch.no_grad()
    def _measure_head(self, causal: Any) -> bool:
        """Whether head(body(x)) is what the model itself says; some scale or cap their logits after it."""
        probe = torch.arange(8, device=causal.device)[None]
        expected = causal(input_ids=probe, use_cache=False).logits.float()
        if self._head is None:
            return False
        hidden = self._body(input_ids=probe, use_cache=False).last_hidden_state
        return bool(torch.allclose(self._head(hidden).float(), expected, rtol=1e-2, atol=1e-2))


def _pieces(length: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK_TOKENS) for start in range(0, length, CHUNK_TOKENS))
