"""Chooses the next token from logits, and turns tokens into text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers.decoders import DecodeStream

_LOWEST_TEMPERATURE = 0.01
"""vLLM raises a lower one to this, but for 0."""
_OFF = -1


@dataclass(frozen=True)
class Sampling:
    """The sampling parameters of a request."""

    temperature: float
    """0 always takes the likeliest."""
    top_p: float
    repetition_penalty: float
    """1 changes nothing; above it, tokens of the prompt and of the answer so far become less likely."""
    max_tokens: int
    stop: tuple[str, ...]
    seed: int | None
    """None, and -1, for chance."""
    top_k: int = 0
    """0 and -1 consider every token."""
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    ignore_end: bool = False
    """Whether the answer goes on after a token that ends it."""
    top_tokens: int | None = None
    """How many of the likeliest tokens each position reports; None to report no log-probabilities."""


@dataclass(frozen=True)
class TokenLogprobs:
    """The log-probability of a token that was taken, and of the likeliest in its place."""

    token: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...]
    """From the likeliest on."""


def token_logprobs(logits: torch.Tensor, token: int, count: int, tokenizer: Any) -> TokenLogprobs:
    """Return a token's log-probability by the model itself: before penalties, bias and temperature.

    Args:
        logits: of shape [vocabulary].
        token: the one that was taken.
        count: how many of the likeliest to report beside it.
        tokenizer: turns tokens into text.
    """
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    values, tokens = logprobs.topk(min(count, len(logprobs)))
    likeliest = zip(tokens.tolist(), values.tolist(), strict=True)
    alternatives = tuple((str(tokenizer.decode([other])), value) for other, value in likeliest)
    return TokenLogprobs(str(tokenizer.decode([token])), float(logprobs[token]), alternatives)


class TokenChooser:
    """Chooses tokens for one request, with a random stream of its own, so that a seed repeats an answer."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._seen = set(prompt)
        self._written: Counter[int] = Counter()
        self._random = torch.Generator()
        if sampling.seed is None or sampling.seed == _OFF:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def choose(self, logits: torch.Tensor) -> int:
        """Choose the next token for logits of shape [vocabulary]."""
        token = self._draw(self._with_openai_penalties(self._penalized(self._biased(logits.float()))))
        self._seen.add(token)
        self._written[token] += 1
        return token

    def _biased(self, logits: torch.Tensor) -> torch.Tensor:
        bias = self._sampling.logit_bias
        return _added(logits, bias) if bias else logits

    def _penalized(self, logits: torch.Tensor) -> torch.Tensor:
        """Apply CTRL's repetition penalty, as vLLM and transformers do (arXiv:1909.05858, section 4.1)."""
        penalty = self._sampling.repetition_penalty
        if penalty == 1:
            return logits
        seen = torch.tensor(sorted(self._seen), dtype=torch.long)
        scores = logits[seen]
        return logits.index_copy(0, seen, torch.where(scores < 0, scores * penalty, scores / penalty))

    def _with_openai_penalties(self, logits: torch.Tensor) -> torch.Tensor:
        """Apply OpenAI's frequency and presence penalties to the tokens of the answer so far."""
        each, once = self._sampling.frequency_penalty, self._sampling.presence_penalty
        if not self._written or (each == 0 and once == 0):
            return logits
        return _added(logits, {token: -(each * times + once) for token, times in self._written.items()})

    def _draw(self, logits: torch.Tensor) -> int:
        if self._sampling.temperature == 0:
            return int(logits.argmax())
        probabilities = torch.softmax(logits / max(self._sampling.temperature, _LOWEST_TEMPERATURE), dim=-1)
        # The likeliest always stays.
        if self._sampling.min_p > 0:
            probabilities[probabilities < self._sampling.min_p * probabilities.max()] = 0
        if 0 < self._sampling.top_k < len(probabilities):
            probabilities[probabilities < probabilities.topk(self._sampling.top_k).values[-1]] = 0
        if self._sampling.top_p < 1:
            probabilities = probabilities / probabilities.sum()
            likely, order = probabilities.sort(descending=True)
            # A token stays if those before it do not already make up top_p; the first always stays.
            likely[likely.cumsum(-1) - likely >= self._sampling.top_p] = 0
            probabilities = torch.zeros_like(probabilities).scatter(0, order, likely)
        return int(torch.multinomial(probabilities, 1, generator=self._random))


def _added(logits: torch.Tensor, amounts: Mapping[int, float]) -> torch.Tensor:
    tokens, values = torch.tensor(list(amounts)), torch.tensor(list(amounts.values()), dtype=logits.dtype)
    return logits.index_add(0, tokens, values)


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
        """Add a token and return the text that is complete now, often empty."""
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
        """Return what was held back because it might have become a stop string."""
        shown, self._held = self._held, ""
        return shown

    def _begun_stop(self) -> int:
        """Count the characters at the end that could be the beginning of a stop string."""
        return max(
            (
                length
                for text in self._stop
                for length in range(1, min(len(text), len(self._held) + 1))
                if self._held.endswith(text[:length])
            ),
            default=0,
        )
