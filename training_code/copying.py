"""What of an answer stands, word for word, in the stories that the model learnt from."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training_code.words import words

RUN_WORDS = 12
"""A run of this many words that stands in a training story is copied, not chance."""

SHORTEST = 4
"""Runs shorter than this are everybody's language and are not looked for."""


@dataclass(frozen=True)
class Copied:
    """How much was copied."""

    share: float
    """Of all runs of RUN_WORDS words, those that stand in the training stories: 0 to 1."""
    longest: int
    """Words of the longest copied run; 0 where it is shorter than SHORTEST."""


def copied(answers: Iterable[str], training_texts: Iterable[str]) -> Copied:
    """Compare answers with the training stories, which are gone through once and never kept.

    Works on the few words of the answers: each place in them knows how many words up to it the training
    story has just said.
    """
    in_answers = [words(answer) for answer in answers]
    places: defaultdict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for number, own in enumerate(in_answers):
        for place in range(len(own) - SHORTEST + 1):
            places[tuple(own[place : place + SHORTEST])].append((number, place))
    reached: dict[tuple[int, int], int] = {}
    for text in training_texts:
        _follow(words(text), places, reached)
    runs = sum(max(0, len(own) - RUN_WORDS + 1) for own in in_answers)
    long_enough = sum(length >= RUN_WORDS for length in reached.values())
    return Copied(long_enough / runs if runs else 0.0, max(reached.values(), default=0))


def _follow(
    told: Sequence[str],
    places: dict[tuple[str, ...], list[tuple[int, int]]],
    reached: dict[tuple[int, int], int],
) -> None:
    """Note in `reached` the longest run of the story that ends with the SHORTEST words at each place."""
    running: dict[tuple[int, int], int] = {}
    for start in range(len(told) - SHORTEST + 1):
        found = places.get(tuple(told[start : start + SHORTEST]), ())
        running = {(n, at): running.get((n, at - 1), SHORTEST - 1) + 1 for n, at in found}
        for place, length in running.items():
            reached[place] = max(length, reached.get(place, 0))
