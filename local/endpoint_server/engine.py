"""Writes several answers at once: requests join and leave a model's batch between any two tokens.

transformers has continuous batching of its own, at the same speed on a CPU, but without a seed for each
request, so the batch is kept here: a key-value cache padded on the left, one row an answer.
"""

import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch.nn import functional
from transformers import DynamicCache

from local.endpoint_server.loaded_models import LoadedModels
from local.endpoint_server.sampling import (
    Sampling,
    TextStream,
    TokenChooser,
    TokenLogprobs,
    token_logprobs,
)

MAX_ROWS = 16
"""Answers written at once by one model; more wait their turn."""
MAX_PLACES = 32_768
"""Tokens of all answers that are written at once, each as long as the longest can get: what is kept of them
(23 KB a token in bf16 with SmolLM2-135M) must fit into the memory.
"""

FinishReason = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True)
class TokenPiece:
    """A bit of an answer: some text, or its end."""

    text: str
    finish_reason: FinishReason | None = None
    completion_tokens: int = 0
    error: str = ""
    logprobs: tuple[TokenLogprobs, ...] = ()
    """One for each token since the piece before, if the request asked for them."""


@dataclass(eq=False)
class GenerationTask:
    """One request on its way. `deliver` is called from the engine's thread."""

    model: str
    prompt: Sequence[int]
    sampling: Sampling
    deliver: Callable[[TokenPiece], None]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Stop writing because nobody reads the answer any more."""
        self.cancelled.set()


def _longest(task: GenerationTask, models: LoadedModels) -> int:
    """Return the most tokens that a prompt and its answer may have together."""
    return min(len(task.prompt) + task.sampling.max_tokens, models.max_length)


class _Row:
    """One answer being written."""

    def __init__(self, task: GenerationTask, models: LoadedModels) -> None:
        self.task = task
        self.last_token = 0
        self.length = len(task.prompt)
        """Tokens in the cache."""
        self.count = 0
        self.finished = False
        self._chooser = TokenChooser(task.sampling, task.prompt)
        self._text = TextStream(models.tokenizer, task.sampling.stop)
        self._tokenizer = models.tokenizer
        self._end_tokens = frozenset() if task.sampling.ignore_end else models.end_tokens
        self._logprobs: list[TokenLogprobs] = []
        self.longest = _longest(task, models)

    def take(self, logits: torch.Tensor) -> None:
        """Choose the next token and deliver what it adds; logits of shape [vocabulary]."""
        if self.task.cancelled.is_set():
            self._finish("cancelled")
            return
        self.last_token = self._chooser.choose(logits)
        self.count += 1
        top_tokens = self.task.sampling.top_tokens
        if top_tokens is not None:
            self._logprobs.append(token_logprobs(logits, self.last_token, top_tokens, self._tokenizer))
        if self.last_token in self._end_tokens:
            self._finish("stop", self._text.close())
            return
        text = self._text.add(self.last_token)
        if self._text.stopped:
            self._finish("stop", text)
        elif len(self.task.prompt) + self.count >= self.longest:
            self._finish("length", text + self._text.close())
        elif text or self._logprobs:
            self.task.deliver(TokenPiece(text, logprobs=self._take_logprobs()))

    def fail(self, message: str) -> None:
        """End the answer because the model failed."""
        self.finished = True
        self.task.deliver(TokenPiece("", "error", self.count, message))

    def _finish(self, reason: FinishReason, text: str = "") -> None:
        self.finished = True
        self.task.deliver(TokenPiece(text, reason, self.count, logprobs=self._take_logprobs()))

    def _take_logprobs(self) -> tuple[TokenLogprobs, ...]:
        taken, self._logprobs = tuple(self._logprobs), []
        return taken


class _Batch:
    """The answers that one model writes at the same time."""

    def __init__(self, network: Any, models: LoadedModels) -> None:
        self._network = network
        self._models = models
        self.rows: list[_Row] = []
        self._cache: Any = DynamicCache()
        self._mask = torch.zeros(0, 0, dtype=torch.long)
        """Which places of the cache are real, [rows, length]; the others are padding on the left."""

    def has_room(self, task: GenerationTask) -> bool:
        """Tell whether one more answer can be written beside the others."""
        longest = max([row.longest for row in self.rows], default=0)
        places = (len(self.rows) + 1) * max(longest, _longest(task, self._models))
        return not self.rows or (len(self.rows) < MAX_ROWS and places <= MAX_PLACES)

    def prefill(self, task: GenerationTask) -> None:
        """Read a prompt, choose its first token, and put it beside the others."""
        row = _Row(task, self._models)
        cache = DynamicCache()
        prompt = torch.tensor([list(task.prompt)])
        output = self._network(input_ids=prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
        row.take(output.logits[0, -1])
        if not row.finished:
            self._join(row, cache)

    def step(self) -> None:
        """Write one more token of every row."""
        self._mask = functional.pad(self._mask, (0, 1), value=1)
        output = self._network(
            input_ids=torch.tensor([[row.last_token] for row in self.rows]),
            attention_mask=self._mask,
            position_ids=torch.tensor([[row.length] for row in self.rows]),
            past_key_values=self._cache,
            use_cache=True,
        )
        for row, logits in zip(self.rows, output.logits[:, -1], strict=True):
            row.length += 1
            row.take(logits)
        self._leave()

    def fail(self, message: str) -> None:
        """End every answer with an error."""
        for row in self.rows:
            row.fail(message)
        self.rows = []
        self._leave()

    def _join(self, row: _Row, cache: Any) -> None:
        if not self.rows:
            self._cache, self._mask = cache, torch.ones(1, row.length, dtype=torch.long)
        else:
            length = max(self._mask.shape[1], row.length)
            for ours, theirs in zip(self._cache.layers, cache.layers, strict=True):
                ours.keys = torch.cat([_pad(ours.keys, length), _pad(theirs.keys, length)])
                ours.values = torch.cat([_pad(ours.values, length), _pad(theirs.values, length)])
            mine = functional.pad(self._mask, (length - self._mask.shape[1], 0))
            other = functional.pad(torch.ones(1, row.length, dtype=torch.long), (length - row.length, 0))
            self._mask = torch.cat([mine, other])
        self.rows.append(row)

    def _leave(self) -> None:
        """Drop finished rows, and the padding that only they needed."""
        kept = [place for place, row in enumerate(self.rows) if not row.finished]
        if len(kept) == len(self.rows) and kept:
            return
        self.rows = [self.rows[place] for place in kept]
        if not kept:
            self._cache, self._mask = DynamicCache(), torch.zeros(0, 0, dtype=torch.long)
            return
        places = torch.tensor(kept)
        padding = self._mask.shape[1] - max(row.length for row in self.rows)
        self._mask = self._mask[places, padding:]
        for layer in self._cache.layers:
            layer.keys = layer.keys[places, :, padding:]
            layer.values = layer.values[places, :, padding:]


def _pad(states: torch.Tensor, length: int) -> torch.Tensor:
    """Pad keys or values [rows, heads, places, width] on the left to `length` places."""
    return functional.pad(states, (0, 0, length - states.shape[2], 0))


class Engine:
    """One thread that writes all answers of all models, a token for each in turn."""

    def __init__(self, models: LoadedModels) -> None:
        self._batches = {name: _Batch(model.network, models) for name, model in models.by_name.items()}
        self._waiting: deque[GenerationTask] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, task: GenerationTask) -> None:
        """Have a request answered; its `deliver` gets the pieces."""
        with self._wake:
            self._waiting.append(task)
            self._wake.notify()

    def stop(self) -> None:
        """End after the current token; unfinished answers end without a last piece."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    @property
    def active(self) -> int:
        """Requests being answered or waiting."""
        return len(self._waiting) + sum(len(batch.rows) for batch in self._batches.values())

    @torch.inference_mode()
    def _run(self) -> None:
        while self._wait_for_work():
            for batch in self._batches.values():
                if batch.rows:
                    self._guard(batch, batch.step)
            self._start_waiting()

    def _wait_for_work(self) -> bool:
        with self._wake:
            self._wake.wait_for(lambda: self._stopping or self.active > 0)
            return not self._stopping

    def _start_waiting(self) -> None:
        """Start those waiting requests whose model has room, in the order they came."""
        with self._wake:
            tasks, self._waiting = list(self._waiting), deque()
        remaining: list[GenerationTask] = []
        for task in tasks:
            batch = self._batches[task.model]
            # In order: a large request that smaller ones overtook might wait for ever.
            if batch.has_room(task) and all(task.model != earlier.model for earlier in remaining):
                self._guard(batch, partial(batch.prefill, task), task)
            else:
                remaining.append(task)
        with self._wake:
            self._waiting.extendleft(reversed(remaining))

    @staticmethod
    def _guard(batch: _Batch, work: Callable[[], None], task: GenerationTask | None = None) -> None:
        """Do the work; an error ends the answers it concerns and leaves the engine running."""
        try:
            work()
        except Exception as error:
            traceback.print_exc()
            message = f"The model failed: {type(error).__name__}. See the endpoint's log."
            if task is not None:
                task.deliver(TokenPiece("", "error", 0, message))
            else:
                batch.fail(message)
