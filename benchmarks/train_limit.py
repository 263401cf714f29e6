"""The limit: how many operations a step needs, and how many a second this machine's matrix products do.

What training an adapter needs for a token, as floating-point operations:

- 4 a frozen weight: 2 forward and 2 for the gradient of the layer's input. Training all weights takes 6
  (Kaplan et al. 2020, Scaling Laws for Neural Language Models, section 2.1); a frozen weight has no gradient
  of its own (Hu et al. 2021, LoRA).
- the same for the output head, but only where a token is taught.
- 4 a weight of the adapter, for its own gradient: with the adapter merged into the frozen weight, forward and
  the input's gradient cost nothing more.
- attention, causal: 6 times the layers, the width and the row's length, of which a third is forward (Dao et
  al. 2022, FlashAttention, counts it so).

Nothing that is computed twice, no softmax, norm, rotation or optimiser is counted.
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

from training_code.data import TokenSequence

Shapes = Counter[tuple[int, int]]
"""How many linear layers there are of so many inputs and outputs."""

SECONDS = 0.08
"""For each product of each shape."""


def shapes_of(base: Path) -> tuple[Shapes, tuple[int, int], Any]:
    """The linear layers of a base model, its head, and its config; no weights are read."""
    config: Any = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    layers = [
        module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head
    ]
    shapes = Counter((layer.in_features, layer.out_features) for layer in layers)
    return shapes, (head.in_features, head.out_features), config.get_text_config()


def needed_per_token(base: Path, rows: Sequence[TokenSequence], rank: int) -> float:
    """Operations that training needs for a token of these rows, see above."""
    shapes, head, config = shapes_of(base)
    tokens = sum(map(len, rows))
    taught = sum(sum(row.taught) for row in rows)
    frozen = sum(count * inputs * outputs for (inputs, outputs), count in shapes.items())
    adapter = sum(count * rank * (inputs + outputs) for (inputs, outputs), count in shapes.items())
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    squares = sum(len(row) ** 2 for row in rows)
    attention: float = 6.0 * config.num_hidden_layers * config.num_attention_heads * width * squares / tokens
    return 4.0 * (frozen + adapter + head[0] * head[1] * taught / tokens) + attention


class MatrixRate:
    """Operations a second of the products that a step is made of, in its own shapes and numbers of them."""

    def __init__(self, base: Path, tokens: int, device: torch.device, dtype: torch.dtype) -> None:
        """`tokens`: rows of each product, which are the tokens of a step."""
        self.measured: list[float] = []
        self._tokens, self._device, self._dtype = tokens, device, dtype
        self._shapes, *_ = shapes_of(base)

    def measure(self) -> None:
        """Measure once more."""
        operations = seconds = 0.0
        for (inputs, outputs), count in self._shapes.items():
            weight = self._numbers(outputs, inputs)
            x, gradient = self._numbers(self._tokens, inputs), self._numbers(self._tokens, outputs)
            forward = _seconds(lambda x=x, weight=weight: functional.linear(x, weight))
            backward = _seconds(lambda gradient=gradient, weight=weight: gradient @ weight)
            operations += count * 4.0 * self._tokens * inputs * outputs
            seconds += count * (forward + backward)
        self.measured.append(operations / seconds)

    @property
    def median(self) -> float:
        """Of all measurements."""
        return statistics.median(self.measured)

    def _numbers(self, rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, device=self._device, dtype=self._dtype)


def _seconds(product: Any) -> float:
    """Of one product, at its fastest: what else runs on the machine is not the processor's limit."""
    product()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or not times:
        begin = time.perf_counter()
        product()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times)
