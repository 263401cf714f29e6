"""What a model writes when asked, and how much of it is copied from what it was trained on."""

import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from training_code.data import render

MAX_PROMPT_TOKENS = 256
TEMPERATURE = 0.8
TOP_P = 0.95
COPY_WORDS = 8
"""A run of this many words found in the training stories counts as copied, not as chance."""


def choose_prompts(examples: Sequence[dict[str, Any]], count: int) -> list[str]:
    """The first request of up to `count` different held-out stories, shortest requests first.

    Plain examples have no request: their first dozen words stand for one, and the model goes on from there.
    """
    by_story: dict[str, str] = {}
    for example in examples:
        prompt = request_of(example)
        story = str(example.get("story_id", prompt))
        if len(prompt) < len(by_story.get(story, prompt + " ")):
            by_story[story] = prompt
    return sorted(by_story.values(), key=lambda prompt: (len(prompt), prompt))[:count]


def request_of(example: dict[str, Any]) -> str:
    """What the person says first, or the beginning of a plain text."""
    if "messages" in example:
        return str(next((turn["content"] for turn in example["messages"] if turn["role"] == "user"), ""))
    return " ".join(str(example["text"]).split()[:12])


@torch.no_grad()
def write_samples(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, max_tokens: int, max_seconds: float, seed: int
) -> list[str]:
    """One answer to each prompt, all written at once; cut off after `max_seconds` if it comes to that."""
    model.eval()
    started = time.monotonic()
    rows = [_prompt_tokens(prompt, tokenizer) for prompt in prompts]
    longest = max(len(row) for row in rows)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    # Padded on the left, so that every answer follows its prompt directly.
    input_ids = torch.tensor([[padding] * (longest - len(row)) + row for row in rows], device=model.device)
    attention_mask = torch.tensor(
        [[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=model.device
    )
    torch.manual_seed(seed)
    written = model.generate(
        input_ids=input_ids,
        attention_mask=attention_mask,
        do_sample=True,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        max_new_tokens=max_tokens,
        max_time=max(1.0, max_seconds - (time.monotonic() - started)),
        pad_token_id=padding,
    )
    return [
        str(text).strip() for text in tokenizer.batch_decode(written[:, longest:], skip_special_tokens=True)
    ]


def _prompt_tokens(prompt: str, tokenizer: Any) -> list[int]:
    if tokenizer.chat_template:
        text = render([{"role": "user", "content": prompt}], tokenizer, for_answer=True)
        tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        tokens = tokenizer(prompt)["input_ids"]
    return tokens[-MAX_PROMPT_TOKENS:]


class CopyDetector:
    """Finds runs of words that stand, word for word, in the training stories."""

    def __init__(self, training_texts: Iterable[str]) -> None:
        self._runs = {run for text in training_texts for run in _runs(text)}

    def rate(self, texts: Iterable[str]) -> float:
        """The share of the texts' runs of COPY_WORDS words that are copied, from 0 to 1."""
        runs = [run for text in texts for run in _runs(text)]
        return sum(run in self._runs for run in runs) / len(runs) if runs else 0.0


def _runs(text: str) -> list[int]:
    """A hash of each run of words: the training stories may be too many to keep their words in memory."""
    words = re.findall(r"\w+", text.lower())
    return [hash(tuple(words[i : i + COPY_WORDS])) for i in range(len(words) - COPY_WORDS + 1)]
