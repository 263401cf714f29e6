"""What every model is asked in the evaluation: to tell, to go on from a known opening, and to finish."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["telling", "opening", "finishing"]

OPENING_WORDS = 10
"""Of a training story, put into the model's mouth: who learnt it by heart goes on with the rest."""
LEFT_TO_FINISH_WORDS = 20
BEFORE_FINISH_WORDS = 40
FIRST_ROUND: dict[Kind, int] = {"telling": 6, "opening": 4, "finishing": 4}
"""How many requests of each kind the first round has; each further round has twice as many."""
MOST_ROUNDS = 4


@dataclass(frozen=True)
class Request:
    """One thing that a model is asked to write."""

    kind: Kind
    prompt: str
    """What the person says; empty for plain models, which only go on with `begun`."""
    begun: str = ""
    """What the answer already says."""


def rounds_of_requests(
    held_out: Sequence[dict[str, Any]], training: Sequence[dict[str, Any]], seed: int
) -> list[list[Request]]:
    """Requests in rounds; when there is time for few only, the first ones are of as many stories as can be.

    Args:
        held_out: examples that no model has learnt from: what to tell, and what to finish.
        training: examples that the candidate has learnt from: their openings.
        seed: of the choice among the openings.
    """
    openings = list(_openings(training))
    random.Random(seed).shuffle(openings)  # noqa: S311 (a fair choice, not a secret)
    waiting: dict[Kind, list[Request]] = {
        "telling": _tellings(held_out),
        "opening": openings,
        "finishing": list(_finishings(held_out)),
    }
    rounds = []
    for number in range(MOST_ROUNDS):
        chosen: list[Request] = []
        for kind, left in waiting.items():
            count = FIRST_ROUND[kind] * 2**number
            chosen += left[:count]
            del left[:count]
        if chosen:
            rounds.append(chosen)
    return rounds


def _tellings(examples: Sequence[dict[str, Any]]) -> list[Request]:
    """Every story's first request before any story's second; shorter ones first."""
    by_story: dict[str, list[str]] = {}
    for example in examples:
        prompt = request_of(example)
        asked = by_story.setdefault(str(example.get("story_id", prompt)), [])
        if prompt not in asked:
            asked.append(prompt)
    turns = [
        (turn, len(prompt), prompt)
        for prompts in by_story.values()
        for turn, prompt in enumerate(sorted(prompts, key=lambda prompt: (len(prompt), prompt)))
    ]
    chat = any("messages" in example for example in examples)
    return [
        Request("telling", prompt) if chat else Request("telling", "", prompt)
        for _, _, prompt in sorted(turns)
    ]


def request_of(example: dict[str, Any]) -> str:
    """What the person says first, or the first dozen words of a plain text."""
    if "messages" in example:
        return str(next((turn["content"] for turn in example["messages"] if turn["role"] == "user"), ""))
    return " ".join(str(example["text"]).split()[:12])


def _openings(examples: Sequence[dict[str, Any]]) -> Iterator[Request]:
    """The first words of each story's first example."""
    seen: set[str] = set()
    for example in examples:
        story, prompt = str(example.get("story_id", "")), request_of(example)
        begun = " ".join(answer_of(example).split()[:OPENING_WORDS])
        if begun and (not story or story not in seen):
            seen.add(story)
            yield Request("opening", prompt if "messages" in example else "", begun)


def _finishings(examples: Sequence[dict[str, Any]]) -> Iterator[Request]:
    """The end of each story, but for its last words."""
    for example in examples:
        own = answer_of(example).split()
        if example.get("ends", True) and len(own) > LEFT_TO_FINISH_WORDS + OPENING_WORDS:
            begun = " ".join(own[:-LEFT_TO_FINISH_WORDS][-BEFORE_FINISH_WORDS:])
            yield Request("finishing", request_of(example) if "messages" in example else "", begun)


def answer_of(example: dict[str, Any]) -> str:
    """The story's own words: the assistant's turns, or the plain text."""
    if "messages" in example:
        return " ".join(turn["content"] for turn in example["messages"] if turn["role"] == "assistant")
    return str(example["text"])


def texts_of(examples: Sequence[dict[str, Any]]) -> list[str]:
    """One text for each story: its examples' own words, one after another."""
    stories: dict[object, list[str]] = {}
    for number, example in enumerate(examples):
        stories.setdefault(example.get("story_id", number), []).append(answer_of(example))
    return ["\n\n".join(parts) for parts in stories.values()]
