"""Tokenizes examples into rows with a loss mask, and packs rows into batches.

A batch is one sequence of several rows without padding. `packed_attention` keeps the rows from attending to
each other.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from storyloom_jobs.container import JobError

IGNORE_INDEX = -100
"""Label that PyTorch's cross-entropy leaves out."""

# It has no roles or marks, because the training texts had none. System messages are left out: a model that
# only continues texts cannot follow instructions.
_PLAIN_TEMPLATE = (
    "{% for message in messages if message['role'] not in ['system', 'developer'] %}"
    "{{ message['content'] }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class TokenSequence:
    """Token ids of one row, and for each whether it counts in the loss."""

    tokens: tuple[int, ...]
    loss_mask: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def num_loss_tokens(self) -> int:
        """Count the tokens that count in the loss."""
        return sum(self.loss_mask)


@dataclass(frozen=True)
class TokenBatch:
    """Rows packed one after another; tensors of shape [1, tokens]."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    """Position of each token in its own row."""
    labels: torch.Tensor
    """The next token at each position, or IGNORE_INDEX."""
    lengths: tuple[int, ...]
    """Number of tokens of each row."""

    @property
    def num_loss_tokens(self) -> int:
        """Count the labels that count in the loss."""
        return int((self.labels != IGNORE_INDEX).sum())


def read_examples(folder: Path, part: str) -> list[dict[str, Any]]:
    """Read all examples of the folder's .jsonl files, ordered by file name.

    Raises:
        JobError: there is no example, or a line is not one; the message names file and line but quotes
            nothing.
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


def _parse(line: str, location: str) -> dict[str, Any]:
    try:
        example = json.loads(line)
    except ValueError:
        example = None
    if not isinstance(example, dict) or not (example.get("messages") or example.get("text")):
        raise JobError(
            f"{location} is not an example: it needs `messages` or `text`. Prepare the dataset again."
        )
    return example


def encode(example: dict[str, Any], tokenizer: Any, end_tokens: frozenset[int]) -> TokenSequence:
    """Tokenize one example. The assistant's messages of a chat count in the loss, or all of a plain text.

    The end token counts in the loss if the story ends with the example: otherwise the tuned model would never
    stop. If `ends` is false the story continues in another example, and the end token does not count.

    Raises:
        JobError: the example is a chat and the tokenizer has no chat template.
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
        tokens = _with_end_token(tokens, tokenizer, end_tokens)
    elif tokens[-1] in end_tokens:  # some tokenizers add one to every text
        tokens = tokens[:-1]
    # Nothing predicts the first token.
    return TokenSequence(tuple(tokens), (False, *[True] * (len(tokens) - 1)))


def _encode_chat(
    messages: Sequence[dict[str, str]], tokenizer: Any, end_tokens: frozenset[int], *, ends: bool
) -> TokenSequence:
    """Tokenize prompts and answers separately, as the inference server does."""
    last = max(
        (position for position, turn in enumerate(messages) if turn["role"] == "assistant"), default=-1
    )
    tokens: list[int] = []
    loss_mask: list[bool] = []
    rendered = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render_chat(messages[:index], tokenizer, for_answer=True)
        after = render_chat(messages[: index + 1], tokenizer)
        if not after.startswith(before):
            raise JobError(
                "This base model's chat template rewrites the prompt once it is answered, "
                "so the answer cannot be told apart. Choose another base model."
            )
        if not before.startswith(rendered):
            # Some templates shorten earlier answers. Then only the later ones are as the model will see them.
            tokens, loss_mask, rendered = [], [], ""
        prompt = _ids(before[len(rendered) :], tokenizer)
        answer = _with_end_token(_ids(after[len(before) :], tokenizer), tokenizer, end_tokens)
        num_loss_tokens = _length_to_last_end(answer, end_tokens) - (index == last and not ends)
        tokens += prompt + answer
        loss_mask += [False] * len(prompt) + [position < num_loss_tokens for position in range(len(answer))]
        rendered = after
    return TokenSequence(tuple(tokens), tuple(loss_mask))


def render_chat(messages: Sequence[dict[str, str]], tokenizer: Any, for_answer: bool = False) -> str:
    """Apply the chat template; with `for_answer` the text ends where the assistant's message begins."""
    text: str = tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=for_answer
    )
    return text


def _ids(text: str, tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _with_end_token(tokens: list[int], tokenizer: Any, end_tokens: frozenset[int]) -> list[int]:
    """Append an end token if the template or the tokenizer did not."""
    return tokens if end_tokens.intersection(tokens[1:]) else [*tokens, tokenizer.eos_token_id]


def _length_to_last_end(tokens: Sequence[int], end_tokens: frozenset[int]) -> int:
    """Count the tokens up to and including the last end token (templates add a line break after it)."""
    return max(position for position, token in enumerate(tokens) if token in end_tokens) + 1


def windows(sequence: TokenSequence, length: int) -> Iterator[TokenSequence]:
    """Cut a sequence into rows of at most `length` tokens; each token counts in the loss at most once.

    Each row begins with the last token of the row before, which predicts its second token.
    """
    start = 0
    while True:
        end = start + length
        window = TokenSequence(
            sequence.tokens[start:end],
            (False, *sequence.loss_mask[start + 1 : end]),
        )
        if any(window.loss_mask):
            yield window
        if end >= len(sequence):
            return
        start = end - 1


def tokenize(
    examples: Iterable[dict[str, Any]], tokenizer: Any, end_tokens: frozenset[int], length: int
) -> list[TokenSequence]:
    """Tokenize all examples into rows of at most `length` tokens."""
    return [row for example in examples for row in windows(encode(example, tokenizer, end_tokens), length)]


def in_batches(
    rows: Iterable[TokenSequence], batch_tokens: int, device: torch.device
) -> Iterator[TokenBatch]:
    """Pack the rows in their order into batches of at most `batch_tokens` tokens (at least one row)."""
    together: list[TokenSequence] = []
    for row in rows:
        if together and sum(map(len, together)) + len(row) > batch_tokens:
            yield collate(together, device)
            together = []
        together.append(row)
    if together:
        yield collate(together, device)


def collate(rows: Sequence[TokenSequence], device: torch.device) -> TokenBatch:
    """Pack the rows one after another; the last token of each row has no label."""
    input_ids = torch.tensor([token for row in rows for token in row.tokens])
    labels = torch.tensor(
        [
            token if counts else IGNORE_INDEX
            for row in rows
            for token, counts in zip(
                (*row.tokens[1:], IGNORE_INDEX), (*row.loss_mask[1:], False), strict=True
            )
        ]
    )
    positions = torch.cat([torch.arange(len(row)) for row in rows])
    return TokenBatch(
        input_ids=input_ids[None].to(device),
        position_ids=positions[None].to(device),
        labels=labels[None].to(device),
        lengths=tuple(len(row) for row in rows),
    )


def are_plain_texts(examples: Iterable[dict[str, Any]]) -> bool:
    """Check whether the examples are plain texts rather than chats."""
    return all("messages" not in example for example in examples)


def plain_chat_template(tokenizer: Any) -> str:
    """Make a chat template for a model that learnt plain texts: the messages, separated by blank lines.

    Servers add no special tokens to a rendered chat. If the tokenizer begins every text with a token, the
    template therefore begins with it.
    """
    begins = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return ("{{ bos_token }}" if begins else "") + _PLAIN_TEMPLATE
