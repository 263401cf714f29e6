"""Cross-entropy in pieces, so that the logits of a whole batch never exist at once.

For a small model with a large vocabulary they are the largest tensor by far: 2,048 tokens times 49,152
words in fp32 are 400 MB, and their gradient as much again. Here the head runs over a few hundred taught
tokens at a time; prompts and padding never reach it.
"""

import inspect
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch.nn import functional

from training_code import packing
from training_code.data import NOT_TAUGHT, Batch

CHUNK_TOKENS = 256
_CPU_ROWS = 16
"""Of a chunk's logits that a processor turns into gradients at a time: so many in fp32 stay in its cache."""

Reduction = Literal["sum", "none"]


class ChunkedLoss:
    """The loss of a causal language model, with or without a LoRA adapter on it."""

    def __init__(self, model: Any) -> None:
        """Raises nothing; measures on eight tokens whether the model's head may be applied apart."""
        self.model = model
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._body = causal.base_model
        self._head = causal.get_output_embeddings()
        self._marks_images = _marks_images(causal)
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
            piece_loss, gathered[piece] = self._with_gradient(hidden[piece].detach(), labels[piece])
            total += piece_loss
        hidden.backward(gathered.div_(divisor))  # type: ignore[no-untyped-call]
        return total / divisor

    def total(self, batch: Batch) -> float:
        """The sum of the losses of the batch's taught tokens, in nats."""
        return float(self.of_tokens(batch).sum())

    @torch.no_grad()
    def of_tokens(self, batch: Batch) -> torch.Tensor:
        """The loss of each of the batch's taught tokens in nats [taught], in their order."""
        if not self._head_is_plain:
            whole = self._whole(batch, "none")
            return whole[batch.labels.flatten() != NOT_TAUGHT]
        hidden, labels = self._taught(batch)
        pieces = _pieces(len(labels))
        losses = [self._cross_entropy(self._head(hidden[piece]), labels[piece], "none") for piece in pieces]
        return torch.cat(losses) if losses else hidden.new_zeros(0)

    @torch.no_grad()
    def _with_gradient(self, hidden: torch.Tensor, labels: torch.Tensor) -> tuple[float, torch.Tensor]:
        """The loss of a piece, and its gradient at `hidden` [taught, width].

        The gradient of cross-entropy at the logits is softmax minus one at the label: it is written over the
        logits, where autograd would keep both.
        """
        logits = self._head(hidden)
        loss = torch.zeros((), device=logits.device)
        at_once = _CPU_ROWS if logits.device.type == "cpu" else CHUNK_TOKENS
        for rows in _pieces(len(labels), at_once):
            part, label = logits[rows].float(), labels[rows, None]
            chosen = part.gather(1, label)
            largest = part.amax(dim=1, keepdim=True)
            normaliser = part.sub_(largest).exp_().sum(dim=1, keepdim=True)
            loss += (normaliser.log() + largest - chosen).sum()
            logits[rows] = part.div_(normaliser).scatter_add_(1, label, torch.full_like(chosen, -1.0))
        weight = self._head.weight
        return float(loss), (logits.to(weight.dtype) @ weight).to(hidden.dtype)

    def _taught(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What the head would read where a token is taught [taught, width], and those tokens [taught]."""
        packing.set_lengths(batch.lengths)
        hidden = self._body(**self._inputs(batch)).last_hidden_state
        taught = batch.labels != NOT_TAUGHT
        return hidden[taught], batch.labels[taught]

    def _whole(self, batch: Batch, reduction: Reduction = "sum") -> torch.Tensor:
        packing.set_lengths(batch.lengths)
        logits = self.model(**self._inputs(batch)).logits
        return self._cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), reduction)

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        """Return the model's inputs; if it also reads images, with the mark that there is none."""
        text = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "use_cache": False}
        if self._marks_images and self.model.training:
            text["token_type_ids"] = torch.zeros_like(batch.input_ids)
        return text

    @staticmethod
    def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor, reduction: Reduction) -> torch.Tensor:
        return functional.cross_entropy(logits.float(), labels, ignore_index=NOT_TAUGHT, reduction=reduction)

    @torch.no_grad()
    def _measure_head(self, causal: Any) -> bool:
        """Whether a frozen head(body(x)) is what the model itself says; some cap their logits after it."""
        probe = torch.arange(8, device=causal.device)[None]
        packing.set_lengths([8])
        expected = causal(input_ids=probe, use_cache=False).logits.float()
        if type(self._head) is not torch.nn.Linear or self._head.weight.requires_grad:
            return False
        hidden = self._body(input_ids=probe, use_cache=False).last_hidden_state
        return bool(torch.allclose(self._head(hidden).float(), expected, rtol=1e-2, atol=1e-2))


def _marks_images(causal: Any) -> bool:
    """Whether a model requires its image tokens to be marked in training, as Gemma 3's larger ones do.

    GPT-2 has an input of the same name, which means something else: it would add an embedding.
    """
    asks = "token_type_ids" in inspect.signature(causal.forward).parameters
    return asks and hasattr(causal.config, "vision_config")


def _pieces(length: int, size: int = CHUNK_TOKENS) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))
