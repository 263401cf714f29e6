"""vLLM with an adapter writes what peft writes: the same tokens with greedy decoding."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.unit.endpoint.contract import chat, chunks
from tests.vllm.conftest import Hosted

TOKENS = 32
PENALTY = 1.1
"""The bundle's own, which a request that does not say gets."""
EQUAL_SHARE = 0.95
TIE = 0.01
"""Two tokens whose logits are closer than this may come in either order: sums are made in another order."""
SUBJECTS = [
    "a lighthouse keeper",
    "a lost dog",
    "the last train",
    "an old clock",
    "two sisters",
    "a map of the sea",
    "a baker who cannot sleep",
    "a winter without snow",
    "the king's gardener",
    "a letter that came late",
    "a broken violin",
    "the boy who counted stars",
    "a bridge",
    "an honest thief",
    "the tide",
    "a door in the forest",
    "a fisherman's daughter",
    "an empty house",
    "the first day of spring",
    "a very small dragon",
]


@dataclass(frozen=True)
class Difference:
    """The position at which the two first differ, and by how little peft preferred its own token."""

    at: int
    gap: float


def test_it_takes_the_tokens_that_peft_takes(hosted: Hosted, base_model: Path) -> None:
    prompts = [f"Tell me a story about {subject}." for subject in SUBJECTS]
    assert len(prompts) == 20

    def ask(prompt: str) -> list[int]:
        # In a stream, for a whole answer has to come within SageMaker's 60 seconds.
        events = chunks(hosted, chat("v2", prompt, max_tokens=TOKENS, stream=True, return_token_ids=True))
        choices = [choice for event in events for choice in event["choices"]]
        return [int(token) for choice in choices for token in choice.get("token_ids") or []]

    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(ask, prompts))
    peft = Peft(base_model, hosted.folder / "adapters" / "v2")
    expected = [peft.write(prompt) for prompt in prompts]
    pairs = list(zip(written, expected, strict=True))
    total = sum(len(theirs) for _, theirs in pairs)
    equal = sum(ours == theirs for row in pairs for ours, theirs in zip(*row, strict=False))
    differences = [
        peft.difference(prompt, ours, theirs)
        for prompt, (ours, theirs) in zip(prompts, pairs, strict=True)
        if ours != theirs
    ]
    before = sum(found.at for found in differences)
    before += sum(len(theirs) for ours, theirs in pairs if ours == theirs)
    print(
        f"\n{equal} of {total} tokens equal ({equal / total:.1%}), {before / total:.1%} up to the "
        f"first difference of each answer; {len(differences)} of 20 answers differ: {differences}"
    )
    assert total > 10 * len(prompts)
    assert equal >= EQUAL_SHARE * total
    assert all(found.gap < TIE for found in differences), differences


class Peft:
    """The base with one adapter on it, unmerged, in the number format that vLLM computes in here."""

    def __init__(self, base: Path, adapter: Path) -> None:
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        self._model: Any = PeftModel.from_pretrained(model, adapter).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(base)

    def _prompt(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        return tokens

    def write(self, text: str) -> list[int]:
        """The likeliest tokens, the end token among them."""
        prompt = self._prompt(text)
        with torch.no_grad():
            written = self._model.generate(
                input_ids=torch.tensor([prompt]),
                max_new_tokens=TOKENS,
                do_sample=False,
                repetition_penalty=PENALTY,
            )
        tokens: list[int] = written[0, len(prompt) :].tolist()
        return tokens

    def difference(self, text: str, theirs: list[int], own: list[int]) -> Difference:
        """The first position at which they differ."""
        at = next(n for n, (a, b) in enumerate(zip([*theirs, -1], [*own, -1], strict=False)) if a != b)
        context = self._prompt(text) + own[:at]
        with torch.no_grad():
            logits = self._model(input_ids=torch.tensor([context])).logits[0, -1]
        seen = torch.tensor(sorted(set(context)))
        logits[seen] = torch.where(logits[seen] > 0, logits[seen] / PENALTY, logits[seen] * PENALTY)
        if at >= len(theirs) or at >= len(own):
            return Difference(at, float("inf"))
        return Difference(at, float(logits[own[at]] - logits[theirs[at]]))
