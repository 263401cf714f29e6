"""The limit of training speed: operations per token, over the rate of this machine's matrix products.

Floating-point operations of training an adapter, per token:

- 4 per frozen weight: 2 forward and 2 for the gradient of the layer's input. Training all weights takes 6
  (Kaplan et al. 2020, Scaling Laws for Neural Language Models, section 2.1); a frozen weight has no gradient
  of its own (Hu et al. 2021, LoRA).
- the same for the output head, but only for tokens that count in the loss.
- 4 per weight of the adapter, for its own gradient: with the adapter merged into the frozen weight, the
  forward
  pass and the input's gradient cost nothing more.
- attention, causal: 6 times the layers, the width and the row's length, of which a third is forward (Dao et
  al. 2022, FlashAttention, uses the same count).

Recomputation, softmax, norms, rotary embeddings and the optimiser are not counted.
"""

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from storyloom_jobs.tokenization import TokenSequence

Shapes = Counter[tuple[int, int]]
"""Number of linear layers, by inputs and outputs."""

SECONDS_PER_PRODUCT = 0.08


def read_shapes(base: Path) -> tuple[Shapes, tuple[int, int], Any]:
    """Read the shapes of a base model's linear layers and head, and its config, without its weights."""
    config: Any = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    layers = [
        module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head
    ]
    shapes = Counter((layer.in_features, layer.out_features) for layer in layers)
    return shapes, (head.in_features, head.out_features), config.get_text_config()


def needed_flops_per_token(base: Path, rows: Sequence[TokenSequence], rank: int) -> float:
    """Compute the operations that training needs per token of these rows, as counted above."""
    shapes, head, config = read_shapes(base)
    tokens = sum(map(len, rows))
    num_loss_tokens = sum(row.num_loss_tokens for row in rows)
    frozen = sum(count * inputs * outputs for (inputs, outputs), count in shapes.items())
    adapter = sum(count * rank * (inputs + outputs) for (inputs, outputs), count in shapes.items())
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    squares = sum(len(row) ** 2 for row in rows)
    attention: float = 6.0 * config.num_hidden_layers * config.num_attention_heads * width * squares / tokens
    return 4.0 * (frozen + adapter + head[0] * head[1] * num_loss_tokens / tokens) + attention


class MatmulRate:
    """Measures the operations per second of a step's matrix products, in the step's own shapes."""

    def __init__(self, base: Path, tokens: int, device: torch.device, dtype: torch.dtype) -> None:
        """Set the number format, and the rows of each product, which are the tokens of a step."""
        self.measured: list[float] = []
        self._tokens, self._device, self._dtype = tokens, device, dtype
        self._shapes, *_ = read_shapes(base)

    def measure(self) -> None:
        """Measure once more, and keep the result."""
        operations = seconds = 0.0
        for (inputs, outputs), count in self._shapes.items():
            weight = self._random(outputs, inputs)
            x, gradient = self._random(self._tokens, inputs), self._random(self._tokens, outputs)
            forward = _seconds(lambda x=x, weight=weight: functional.linear(x, weight))
            backward = _seconds(lambda gradient=gradient, weight=weight: gradient @ weight)
            operations += count * 4.0 * self._tokens * inputs * outputs
            seconds += count * (forward + backward)
        self.measured.append(operations / seconds)

    @property
    def median(self) -> float:
        """Return the median of all measurements."""
        return statistics.median(self.measured)

    def _random(self, rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, device=self._device, dtype=self._dtype)


def _seconds(product: Any) -> float:
    """Measure the fastest of several runs, so that other load on the machine does not count."""
    product()
    times: list[float] = []
    end = time.perf_counter() + SECONDS_PER_PRODUCT
    while time.perf_counter() < end or not times:
        begin = time.perf_counter()
        product()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times)
