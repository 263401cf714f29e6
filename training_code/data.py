"""From example lines to token sequences with a mask of what is taught, and from those to batches.

A batch is several rows one after another in one sequence, see `packing`: nothing is padded, and no attention
crosses from one story into another.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training_code.container import JobError

NOT_TAUGHT = -100
"""Label that PyTorch's cross-entropy leaves out."""

OPEN_BINS = 8
"""A row goes into the first of this many unfinished bins that has room for it."""
PAIRED_TOGETHER = 16
"""Halves of steps among which those of about the same length find each other."""


@dataclass(frozen=True)
class TokenSequence:
    """Token ids of one row, and for each whether the model is taught to say it."""

    tokens: tuple[int, ...]
    taught: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Batch:
    """Rows one after another; shapes [1, tokens]."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    """Each token's place in its own row."""
    labels: torch.Tensor
    """The next token at each place, or NOT_TAUGHT."""
    lengths: tuple[int, ...]
    """Tokens of each row."""

    @property
    def taught_tokens(self) -> int:
        return int((self.labels != NOT_TAUGHT).sum())


def read_examples(folder: Path, part: str) -> list[dict[str, Any]]:
    """All examples in the folder's .jsonl files, in the files' order.

    Raises:
        JobError: no folder, no example, or a line that is not an example; names file and line only.
    """
    examples: list[dict[str, Any]] = []
    for path in sorted(folder.glob("**/*.jsonl")) if folder.is_dir() else ():
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    examples.append(_parse(line, f"{path.name}, line {number}"))
    if not examples:
        raise JobError(
            f"The {part} dataset is empty: no example in {folder}. "
            "Add more stories, or lower the minimum_words setting only if you know why."
        )
    return examples


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        example = json.loads(line)
    except ValueError:
        example = None
    if not isinstance(example, dict) or not (example.get("messages") or example.get("text")):
        raise JobError(
            f"{where} is not an example: it needs `messages` or `text`. Prepare the dataset again."
        )
    return example


def encode(example: dict[str, Any], tokenizer: Any, end_tokens: frozenset[int]) -> TokenSequence:
    """Tokens and mask of one example: the assistant's words of a chat, or all of a plain text.

    The end token is taught where the story ends, else the tuned model never stops. An example whose `ends` is
    false breaks off: there it is not taught, else the model would stop in the middle.

    Raises:
        JobError: a chat for a tokenizer without a chat template.
    """
    if "messages" in example:
        if not tokenizer.chat_template:
            raise JobError(
                "The examples are chats but this base model's tokenizer has no chat template. "
                "Choose an instruct model, or prepare the dataset as plain text."
            )
        return _encode_chat(example["messages"], tokenizer, end_tokens, ends=example.get("ends", True))
    tokens = tokenizer(example["text"])["input_ids"]
    if example.get("ends", True):
        tokens = _closed(tokens, tokenizer, end_tokens)
    elif tokens[-1] in end_tokens:  # some tokenizers put one after every text
        tokens = tokens[:-1]
    # The first token is only ever read, never predicted.
    return TokenSequence(tuple(tokens), (False, *[True] * (len(tokens) - 1)))


def _encode_chat(
    messages: Sequence[dict[str, str]], tokenizer: Any, end_tokens: frozenset[int], *, ends: bool
) -> TokenSequence:
    """Prompt and answer are tokenised apart, as they are when the model answers for real."""
    last = max((place for place, turn in enumerate(messages) if turn["role"] == "assistant"), default=-1)
    tokens: list[int] = []
    taught: list[bool] = []
    rendered = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(messages[:index], tokenizer, for_answer=True)
        after = render(messages[: index + 1], tokenizer)
        if not after.startswith(before):
            raise JobError(
                "This base model's chat template rewrites the prompt once it is answered, "
                "so the answer cannot be told apart. Choose another base model."
            )
        if not before.startswith(rendered):
            # Some templates shorten earlier answers: then only the later ones are as the model will see them.
            tokens, taught, rendered = [], [], ""
        prompt = _ids(before[len(rendered) :], tokenizer)
        answer = _closed(_ids(after[len(before) :], tokenizer), tokenizer, end_tokens)
        taught_here = _through_last(answer, end_tokens) - (index == last and not ends)
        tokens += prompt + answer
        taught += [False] * len(prompt) + [place < taught_here for place in range(len(answer))]
        rendered = after
    return TokenSequence(tuple(tokens), tuple(taught))


def render(messages: Sequence[dict[str, str]], tokenizer: Any, for_answer: bool = False) -> str:
    """The chat as the model reads it; `for_answer` ends where its answer begins."""
    text: str = tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=for_answer
    )
    return text


def _ids(text: str, tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _closed(tokens: list[int], tokenizer: Any, end_tokens: frozenset[int]) -> list[int]:
    """The tokens with an end token, where the template or the tokenizer did not put one."""
    return tokens if end_tokens.intersection(tokens[1:]) else [*tokens, tokenizer.eos_token_id]


def _through_last(tokens: Sequence[int], end_tokens: frozenset[int]) -> int:
    """How many tokens there are up to and with the last end token (templates add a line break after it)."""
    return max(place for place, token in enumerate(tokens) if token in end_tokens) + 1


def windows(sequence: TokenSequence, length: int) -> Iterator[TokenSequence]:
    """Cut a sequence into rows of at most `length` tokens; each token is taught at most once.

    A row begins with the last token of the one before it, so that every token has one to follow.
    """
    start = 0
    while True:
        end = start + length
        window = TokenSequence(
            sequence.tokens[start:end],
            (False, *sequence.taught[start + 1 : end]),
        )
        if any(window.taught):
            yield window
        if end >= len(sequence):
            return
        start = end - 1


def prepare(
    examples: Iterable[dict[str, Any]], tokenizer: Any, end_tokens: frozenset[int], length: int
) -> list[TokenSequence]:
    """Rows of at most `length` tokens for all examples."""
    return [row for example in examples for row in windows(encode(example, tokenizer, end_tokens), length)]


def plan_steps(lengths: Sequence[int], batch_tokens: int, epochs: int, seed: int) -> list[list[int]]:
    """Row numbers of every step of the whole training, in order; the same for the same arguments.

    A step's rows have at most `batch_tokens` tokens together (or it is a single row). They are two halves of
    about the same length where two of the longest rows fit: two processes that train together then hardly
    wait for each other. How many there are makes no difference to the plan.
    """
    shuffle = random.Random(seed)  # noqa: S311 (order of stories, not a secret)
    in_halves = 2 * max(lengths, default=0) <= batch_tokens
    steps: list[list[int]] = []
    for _ in range(epochs):
        order = list(range(len(lengths)))
        shuffle.shuffle(order)
        if in_halves:
            steps += _paired(list(_first_fit(order, lengths, batch_tokens // 2)), lengths)
        else:
            steps += _first_fit(order, lengths, batch_tokens)
    return steps


def _first_fit(order: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Bins of rows that are nearly full, without sorting: each stays a fair sample of all lengths."""
    unfinished: list[list[int]] = []
    room: list[int] = []
    for row in order:
        place = next((n for n, left in enumerate(room) if lengths[row] <= left), None)
        if place is not None:
            unfinished[place].append(row)
            room[place] -= lengths[row]
            continue
        if len(unfinished) == OPEN_BINS:
            fullest = min(range(OPEN_BINS), key=room.__getitem__)
            yield unfinished.pop(fullest)
            room.pop(fullest)
        unfinished.append([row])
        room.append(tokens - lengths[row])
    yield from unfinished


def _paired(halves: Sequence[list[int]], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Steps of two halves that are alike in length, near where they were; the last may be a half."""
    for start in range(0, len(halves), PAIRED_TOGETHER):
        near = range(start, min(start + PAIRED_TOGETHER, len(halves)))
        by_length = sorted(near, key=lambda half: sum(lengths[row] for row in halves[half]))
        pairs = (sorted(by_length[place : place + 2]) for place in range(0, len(by_length), 2))
        for pair in sorted(pairs):
            yield [row for half in pair for row in halves[half]]


def in_batches(rows: Iterable[TokenSequence], batch_tokens: int, device: torch.device) -> Iterator[Batch]:
    """The rows in their order, as many to a batch as `batch_tokens` hold (at least one)."""
    together: list[TokenSequence] = []
    for row in rows:
        if together and sum(map(len, together)) + len(row) > batch_tokens:
            yield collate(together, device)
            together = []
        together.append(row)
    if together:
        yield collate(together, device)


def collate(rows: Sequence[TokenSequence], device: torch.device) -> Batch:
    """Put the rows one after another; the last token of each is followed by nothing."""
    input_ids = torch.tensor([token for row in rows for token in row.tokens])
    labels = torch.tensor(
        [
            token if taught else NOT_TAUGHT
            for row in rows
            for token, taught in zip((*row.tokens[1:], NOT_TAUGHT), (*row.taught[1:], False), strict=True)
        ]
    )
    places = torch.cat([torch.arange(len(row)) for row in rows])
    return Batch(
        input_ids=input_ids[None].to(device),
        position_ids=places[None].to(device),
        labels=labels[None].to(device),
        lengths=tuple(len(row) for row in rows),
    )
