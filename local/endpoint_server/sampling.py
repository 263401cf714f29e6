"""From logits to the next token, and from tokens to text that may be shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers.decoders import DecodeStream


@dataclass(frozen=True)
class Sampling:
    """How a request wants its tokens chosen."""

    temperature: float
    """0 always takes the likeliest."""
    top_p: float
    repetition_penalty: float
    """1 changes nothing; above it, tokens of the prompt and of the answer so far become less likely."""
    max_tokens: int
    stop: tuple[str, ...]
    seed: int | None


class TokenChooser:
    """Chooses tokens for one request, with a random stream of its own, so that a seed repeats an answer."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._seen = set(prompt)
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def choose(self, logits: torch.Tensor) -> int:
        """The next token for logits of shape [vocabulary]."""
        token = self._draw(self._penalized(logits.float()))
        self._seen.add(token)
        return token

    def _penalized(self, logits: torch.Tensor) -> torch.Tensor:
        """CTRL's repetition penalty, as vLLM and transformers apply it (arXiv:1909.05858, section 4.1)."""
        penalty = self._sampling.repetition_penalty
        if penalty == 1:
            return logits
        seen = torch.tensor(sorted(self._seen), dtype=torch.long)
        scores = logits[seen]
        return logits.index_copy(0, seen, torch.where(scores < 0, scores * penalty, scores / penalty))

    def _draw(self, logits: torch.Tensor) -> int:
        if self._sampling.temperature == 0:
            return int(logits.argmax())
        probabilities = torch.softmax(logits / self._sampling.temperature, dim=-1)
        if self._sampling.top_p < 1:
            likely, order = probabilities.sort(descending=True)
            # A token stays if those before it do not already make up top_p; the first always stays.
            likely[likely.cumsum(-1) - likely >= self._sampling.top_p] = 0
            probabilities = torch.zeros_like(probabilities).scatter(0, order, likely)
        return int(torch.multinomial(probabilities, 1, generator=self._random))


class TextStream:
    """Turns tokens into pieces of text, never half a character, never the beginning of a stop string."""

    def __init__(self, tokenizer: Any, stop: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer.backend_tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self.stopped = False
        """Whether a stop string has come; nothing comes after it."""

    def add(self, token: int) -> str:
        """Take a token; the text that can be shown now, often empty."""
        self._held += self._decoder.step(self._tokenizer, token) or ""
        found = [place for text in self._stop if (place := self._held.find(text)) >= 0]
        if found:
            self.stopped = True
            shown, self._held = self._held[: min(found)], ""
            return shown
        keep = self._begun_stop()
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def close(self) -> str:
        """What was held back in case it became a stop string, and did not."""
        shown, self._held = self._held, ""
        return shown

    def _begun_stop(self) -> int:
        """Characters at the end that could be the beginning of a stop string."""
        return max(
            (
                length
                for text in self._stop
                for length in range(1, min(len(text), len(self._held) + 1))
                if self._held.endswith(text[:length])
            ),
            default=0,
        )
