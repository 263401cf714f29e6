"""What a model writes when it is asked, in as much time as there is."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from training_code.data import render
from training_code.requests import Request

MAX_PROMPT_TOKENS = 192
TEMPERATURE = 0.8
TOP_P = 0.95
LIKELIEST = 512
"""As many tokens are drawn from at most: to sort a whole vocabulary each time would take most of the time."""
MOST_TOKENS = 400
"""Of an answer, where there is time."""
FEWEST_TOKENS = 40
"""Of an answer that does not end before, even where there is no time: with less nothing can be measured."""
PATIENCE = 1.5
"""The others may take this many times as long as the first model for as many tokens."""


@dataclass(frozen=True)
class Answer:
    """What a model wrote; without the words that were put into its mouth."""

    request: Request
    text: str
    ended: bool
    """By itself, with an end token; else it was cut off."""


@dataclass(frozen=True)
class Round:
    """Requests that are answered together, each in at most so many tokens."""

    requests: Sequence[Request]
    max_tokens: int
    max_seconds: float


class Writer:
    """Lets models write with one tokenizer. The same seed for all."""

    def __init__(self, tokenizer: Any, end_tokens: frozenset[int], seed: int) -> None:
        self._tokenizer = tokenizer
        self._ends = end_tokens
        self._seed = seed

    def first(
        self, model: Any, rounds: Sequence[Sequence[Request]], seconds: float
    ) -> tuple[list[Answer], list[Round]]:
        """Answer as many rounds as `seconds` allow (at least one, cut off if need be).

        How far it came is what the other models are asked for: so it is found out how fast this machine is.
        """
        answers: list[Answer] = []
        done: list[Round] = []
        started = time.monotonic()
        for requests in rounds:
            left = seconds - (time.monotonic() - started)
            # A round has twice the requests of the one before.
            if done and left < 2 * done[-1].max_seconds / PATIENCE:
                break
            began = time.monotonic()
            written, tokens = self._write(model, Round(requests, MOST_TOKENS, left))
            answers += written
            done.append(Round(requests, tokens, PATIENCE * (time.monotonic() - began)))
        return answers, done

    def same(self, model: Any, rounds: Sequence[Round]) -> list[Answer]:
        """Answer what the first model answered, in no more tokens than it had."""
        return [answer for each in rounds for answer in self._write(model, each)[0]]

    @torch.no_grad()
    def _write(self, model: Any, asked: Round) -> tuple[list[Answer], int]:
        """The answers, and how many tokens the longest might have had."""
        model.eval()
        started = time.monotonic()
        rows = [self._tokens(request) for request in asked.requests]
        longest = max(map(len, rows))
        tokenizer = self._tokenizer
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        # Padded on the left, so that every answer follows its request directly.
        gaps = [longest - len(row) for row in rows]
        input_ids = torch.tensor([[padding] * gap + row for gap, row in zip(gaps, rows, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * len(row) for gap, row in zip(gaps, rows, strict=True)])
        known = [place for place, request in enumerate(asked.requests) if request.kind == "opening"]
        torch.manual_seed(self._seed)
        with _last_place_in_one_piece(model):
            written = model.generate(
                input_ids=input_ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,  # _Draw leaves one token to choose
                # The endpoint's penalty would hide that a model goes round in circles.
                repetition_penalty=1.0,
                logits_processor=LogitsProcessorList([_Draw(known)]),
                max_new_tokens=asked.max_tokens,
                stopping_criteria=StoppingCriteriaList(
                    [_TimeIsUp(started + asked.max_seconds, longest + FEWEST_TOKENS)]
                ),
                eos_token_id=sorted(self._ends),
                pad_token_id=padding,
            )[:, longest:].tolist()
        answers = [self._answer(*pair) for pair in zip(asked.requests, written, strict=True)]
        tokens = asked.max_tokens if all(answer.ended for answer in answers) else len(written[0])
        return answers, tokens

    def _answer(self, request: Request, tokens: Sequence[int]) -> Answer:
        end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        text = str(self._tokenizer.decode(tokens[:end], skip_special_tokens=True)).strip()
        return Answer(request, text, end is not None)

    def _tokens(self, request: Request) -> list[int]:
        tokenizer = self._tokenizer
        if not request.prompt or not tokenizer.chat_template:
            tokens: list[int] = tokenizer(request.begun or request.prompt)["input_ids"]
            while len(tokens) > 1 and tokens[-1] in self._ends:  # some tokenizers put one after every text
                tokens.pop()
            return tokens[-MAX_PROMPT_TOKENS:]
        text = render([{"role": "user", "content": request.prompt}], tokenizer, for_answer=True)
        tokens = tokenizer(text + request.begun, add_special_tokens=False)["input_ids"]
        return tokens[-MAX_PROMPT_TOKENS:]


@contextmanager
def _last_place_in_one_piece(model: Any) -> Iterator[None]:
    """The head's input made contiguous: a slice of the prompt has torch copy the vocabulary for each row."""
    hook = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: (inputs[0].contiguous(), *inputs[1:])
    )
    try:
        yield
    finally:
        hook.remove()


class _Draw(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Draws each row's next token, and leaves that one only.

    In the rows `known` it is the most likely one: what was learnt by heart comes out soonest so.
    """

    def __init__(self, known: Sequence[int]) -> None:
        self._known = list(known)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        best, tokens = (scores / TEMPERATURE).topk(min(LIKELIEST, scores.shape[-1]))
        shares = best.softmax(dim=-1)
        shares[shares.cumsum(dim=-1) - shares >= TOP_P] = 0.0
        drawn = tokens.gather(1, shares.multinomial(1))
        drawn[self._known] = tokens[self._known, :1]
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)  # type: ignore[return-value]


class _TimeIsUp(StoppingCriteria):  # type: ignore[misc,unused-ignore]
    """Ends all answers at a moment of `time.monotonic()`, but none before it has so many tokens."""

    def __init__(self, deadline: float, fewest: int) -> None:
        self._deadline, self._fewest = deadline, fewest

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any) -> torch.BoolTensor:
        ends = input_ids.shape[1] >= self._fewest and time.monotonic() > self._deadline
        return torch.full((len(input_ids),), ends, device=input_ids.device)  # type: ignore[return-value]
