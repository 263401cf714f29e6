"""Whether a model goes round in circles, and how many different words it finds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training_code.words import words

REPEATED_RUN = 4


@dataclass(frozen=True)
class Variety:
    """Shares from 0 to 1."""

    repeated: float
    """Of the runs of four words, those that the same answer has said before."""
    distinct_1: float
    """Different words among all words of all answers; of pairs and triples below."""
    distinct_2: float
    distinct_3: float


def variety(answers: Iterable[str]) -> Variety:
    """Count runs of words. Compare only answers of about the same length: longer ones have less variety."""
    in_answers = [words(answer) for answer in answers]
    runs = [_runs(own, REPEATED_RUN) for own in in_answers]
    whole = sum(map(len, runs))
    repeated = sum(len(own) - len(set(own)) for own in runs)
    distinct = (_distinct(in_answers, length) for length in (1, 2, 3))
    return Variety(repeated / whole if whole else 0.0, *distinct)


def _distinct(in_answers: Sequence[Sequence[str]], length: int) -> float:
    runs = [run for own in in_answers for run in _runs(own, length)]
    return len(set(runs)) / len(runs) if runs else 0.0


def _runs(own: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(own[place : place + length]) for place in range(len(own) - length + 1)]
