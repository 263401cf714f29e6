"""Prompts for the evaluation, and the answers that models generate to them in a limited time."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from storyloom_jobs.tokenization import render_chat

PromptKind = Literal["telling", "opening", "finishing"]
"""Tell a story; continue a training story from its first words; finish a held-out story."""

OPENING_WORDS = 10
"""First words of a training story, given as the beginning of the answer: a model that memorized the story
continues with its text."""
ENDING_WORDS = 20
"""Last words of a held-out story, which the model has to write."""
BEFORE_ENDING_WORDS = 40
"""Words before the ending, given as the beginning of the answer."""
FIRST_ROUND: dict[PromptKind, int] = {"telling": 6, "opening": 4, "finishing": 4}
"""Prompts of each kind in the first round; each further round has twice as many."""
MAX_ROUNDS = 4

MAX_PROMPT_TOKENS = 192
TEMPERATURE = 0.8
TOP_P = 0.95
TOP_K = 512
"""Tokens to sample from at most, because sorting a whole vocabulary for every token would take most of the
time."""
MAX_ANSWER_TOKENS = 400
MIN_ANSWER_TOKENS = 40
"""Tokens of an answer that does not end earlier, even if time is up: shorter answers cannot be measured."""
TIME_FACTOR = 1.5
"""The other models may take this many times as long as the first model for as many tokens."""


@dataclass(frozen=True)
class GenerationPrompt:
    """One text that a model is asked to write."""

    kind: PromptKind
    user_message: str
    """Empty for models of plain texts, which only continue `answer_start`."""
    answer_start: str = ""
    """Beginning of the answer, which the model continues."""


def make_prompt_rounds(
    held_out: Sequence[dict[str, Any]], training: Sequence[dict[str, Any]], seed: int
) -> list[list[GenerationPrompt]]:
    """Make prompts in rounds, so that even the first few come from as many stories as possible.

    Args:
        held_out: examples that no model was trained on, to tell and to finish.
        training: examples that the candidate was trained on, for their openings.
        seed: seed of the choice among the openings.
    """
    openings = list(_openings(training))
    random.Random(seed).shuffle(openings)  # noqa: S311 (a fair choice, not a secret)
    waiting: dict[PromptKind, list[GenerationPrompt]] = {
        "telling": _tellings(held_out),
        "opening": openings,
        "finishing": list(_finishings(held_out)),
    }
    rounds = []
    for number in range(MAX_ROUNDS):
        chosen: list[GenerationPrompt] = []
        for kind, left in waiting.items():
            count = FIRST_ROUND[kind] * 2**number
            chosen += left[:count]
            del left[:count]
        if chosen:
            rounds.append(chosen)
    return rounds


def _tellings(examples: Sequence[dict[str, Any]]) -> list[GenerationPrompt]:
    """Ask for the first passage of every story before the second of any; shorter messages first."""
    by_story: dict[str, list[str]] = {}
    for example in examples:
        message = user_message_of(example)
        messages = by_story.setdefault(str(example.get("story_id", message)), [])
        if message not in messages:
            messages.append(message)
    ordered = [
        (turn, len(message), message)
        for messages in by_story.values()
        for turn, message in enumerate(sorted(messages, key=lambda message: (len(message), message)))
    ]
    chat = any("messages" in example for example in examples)
    return [
        GenerationPrompt("telling", message) if chat else GenerationPrompt("telling", "", message)
        for _, _, message in sorted(ordered)
    ]


def user_message_of(example: dict[str, Any]) -> str:
    """Return the first user message of a chat, or the first twelve words of a plain text."""
    if "messages" in example:
        return str(next((turn["content"] for turn in example["messages"] if turn["role"] == "user"), ""))
    return " ".join(str(example["text"]).split()[:12])


def _openings(examples: Sequence[dict[str, Any]]) -> Iterator[GenerationPrompt]:
    """Give the first words of each story's first example."""
    seen: set[str] = set()
    for example in examples:
        story, message = str(example.get("story_id", "")), user_message_of(example)
        answer_start = " ".join(answer_of(example).split()[:OPENING_WORDS])
        if answer_start and (not story or story not in seen):
            seen.add(story)
            yield GenerationPrompt("opening", message if "messages" in example else "", answer_start)


def _finishings(examples: Sequence[dict[str, Any]]) -> Iterator[GenerationPrompt]:
    """Give the end of each story without its last words."""
    for example in examples:
        own = answer_of(example).split()
        if example.get("ends", True) and len(own) > ENDING_WORDS + OPENING_WORDS:
            answer_start = " ".join(own[:-ENDING_WORDS][-BEFORE_ENDING_WORDS:])
            message = user_message_of(example) if "messages" in example else ""
            yield GenerationPrompt("finishing", message, answer_start)


def answer_of(example: dict[str, Any]) -> str:
    """Return the story's text: the assistant's messages, or the plain text."""
    if "messages" in example:
        return " ".join(turn["content"] for turn in example["messages"] if turn["role"] == "assistant")
    return str(example["text"])


def join_by_story(examples: Sequence[dict[str, Any]]) -> list[str]:
    """Join the texts of each story's examples."""
    stories: dict[object, list[str]] = {}
    for number, example in enumerate(examples):
        stories.setdefault(example.get("story_id", number), []).append(answer_of(example))
    return ["\n\n".join(parts) for parts in stories.values()]


@dataclass(frozen=True)
class GeneratedAnswer:
    """Text that a model wrote, without the given beginning."""

    prompt: GenerationPrompt
    text: str
    ended: bool
    """Whether it ended with an end token rather than being cut off."""


@dataclass(frozen=True)
class GenerationRound:
    """Prompts that are answered in one batch, with their limits."""

    prompts: Sequence[GenerationPrompt]
    max_tokens: int
    max_seconds: float


class AnswerGenerator:
    """Generates the answers of several models with the same tokenizer and seed."""

    def __init__(self, tokenizer: Any, end_tokens: frozenset[int], seed: int) -> None:
        self._tokenizer = tokenizer
        self._ends = end_tokens
        self._seed = seed

    def generate_first(
        self, model: Any, rounds: Sequence[Sequence[GenerationPrompt]], seconds: float
    ) -> tuple[list[GeneratedAnswer], list[GenerationRound]]:
        """Answer as many rounds as `seconds` allow, at least one.

        The returned rounds have the limits for the other models: this measures how fast the machine is.
        """
        answers: list[GeneratedAnswer] = []
        done: list[GenerationRound] = []
        started = time.monotonic()
        for prompts in rounds:
            left = seconds - (time.monotonic() - started)
            # A round has twice the prompts of the one before.
            if done and left < 2 * done[-1].max_seconds / TIME_FACTOR:
                break
            began = time.monotonic()
            written, tokens = self._generate(model, GenerationRound(prompts, MAX_ANSWER_TOKENS, left))
            answers += written
            done.append(GenerationRound(prompts, tokens, TIME_FACTOR * (time.monotonic() - began)))
        return answers, done

    def generate_again(self, model: Any, rounds: Sequence[GenerationRound]) -> list[GeneratedAnswer]:
        """Answer the rounds that the first model answered, within their limits."""
        return [answer for each in rounds for answer in self._generate(model, each)[0]]

    @torch.no_grad()
    def _generate(self, model: Any, batch: GenerationRound) -> tuple[list[GeneratedAnswer], int]:
        """Generate the answers; return them with the number of tokens that the longest might have had."""
        model.eval()
        started = time.monotonic()
        rows = [self._tokenize(prompt) for prompt in batch.prompts]
        longest = max(map(len, rows))
        tokenizer = self._tokenizer
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        # Padded on the left, so that every answer directly follows its prompt.
        gaps = [longest - len(row) for row in rows]
        input_ids = torch.tensor([[padding] * gap + row for gap, row in zip(gaps, rows, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * len(row) for gap, row in zip(gaps, rows, strict=True)])
        greedy = [index for index, prompt in enumerate(batch.prompts) if prompt.kind == "opening"]
        torch.manual_seed(self._seed)
        with _contiguous_head_input(model):
            written = model.generate(
                input_ids=input_ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,  # _Sampler leaves only one token
                # The endpoint's penalty would hide that a model repeats itself.
                repetition_penalty=1.0,
                logits_processor=LogitsProcessorList([_Sampler(greedy)]),
                max_new_tokens=batch.max_tokens,
                stopping_criteria=StoppingCriteriaList(
                    [_TimeLimit(started + batch.max_seconds, longest + MIN_ANSWER_TOKENS)]
                ),
                eos_token_id=sorted(self._ends),
                pad_token_id=padding,
            )[:, longest:].tolist()
        answers = [self._answer(*pair) for pair in zip(batch.prompts, written, strict=True)]
        tokens = batch.max_tokens if all(answer.ended for answer in answers) else len(written[0])
        return answers, tokens

    def _answer(self, prompt: GenerationPrompt, tokens: Sequence[int]) -> GeneratedAnswer:
        end = next((index for index, token in enumerate(tokens) if token in self._ends), None)
        text = str(self._tokenizer.decode(tokens[:end], skip_special_tokens=True)).strip()
        return GeneratedAnswer(prompt, text, end is not None)

    def _tokenize(self, prompt: GenerationPrompt) -> list[int]:
        tokenizer = self._tokenizer
        if not prompt.user_message or not tokenizer.chat_template:
            tokens: list[int] = tokenizer(prompt.answer_start or prompt.user_message)["input_ids"]
            while len(tokens) > 1 and tokens[-1] in self._ends:  # some tokenizers add one to every text
                tokens.pop()
            return tokens[-MAX_PROMPT_TOKENS:]
        text = render_chat([{"role": "user", "content": prompt.user_message}], tokenizer, for_answer=True)
        tokens = tokenizer(text + prompt.answer_start, add_special_tokens=False)["input_ids"]
        return tokens[-MAX_PROMPT_TOKENS:]


@contextmanager
def _contiguous_head_input(model: Any) -> Iterator[None]:
    """Make the head's input contiguous: for a slice, torch would copy the vocabulary for each row."""
    hook = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: (inputs[0].contiguous(), *inputs[1:])
    )
    try:
        yield
    finally:
        hook.remove()


class _Sampler(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Samples each row's next token, and leaves only that one.

    The rows `greedy` take the most likely token, because memorized text shows soonest in greedy decoding.
    """

    def __init__(self, greedy: Sequence[int]) -> None:
        self._greedy = list(greedy)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        best, tokens = (scores / TEMPERATURE).topk(min(TOP_K, scores.shape[-1]))
        shares = best.softmax(dim=-1)
        shares[shares.cumsum(dim=-1) - shares >= TOP_P] = 0.0
        sampled = tokens.gather(1, shares.multinomial(1))
        sampled[self._greedy] = tokens[self._greedy, :1]
        return torch.full_like(scores, -torch.inf).scatter_(1, sampled, 0.0)  # type: ignore[return-value]


class _TimeLimit(StoppingCriteria):  # type: ignore[misc,unused-ignore]
    """Ends all answers at a deadline of `time.monotonic()`, if they have a minimum of tokens."""

    def __init__(self, deadline: float, min_tokens: int) -> None:
        self._deadline, self._min_tokens = deadline, min_tokens

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any) -> torch.BoolTensor:
        ends = input_ids.shape[1] >= self._min_tokens and time.monotonic() > self._deadline
        return torch.full((len(input_ids),), ends, device=input_ids.device)  # type: ignore[return-value]
