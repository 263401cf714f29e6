"""Cut a long text into passages that can be recognised after the text has grown or was revised.

Sections of equal length would all shift when a sentence is added before them. A passage is a paragraph, or a
sentence of a very long one, so it hardly depends on the others.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stories.dataset.split_ledger import HELD_OUT, Side, hashed
from stories.dataset.windows import sentence_boundaries
from stories.language import count_words
from stories.records import Part

GAP = 0.05
"""Share of a work that is left unused between the training text and the held-out text."""

_MAX_GAP_WORDS = 1000
_MAX_HELD_OUT = 0.5
_LONGEST = 1200
# Shorter ones, such as “Yes.”, recur in a text; they are joined with the next one.
_SHORTEST = 40
# New text between two passages of one side is a revision if it is no longer than this.
_REVISED_WORDS = 300
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Passage:
    """A range of a text, between two character positions."""

    begin: int
    end: int
    words: int
    key: str
    """Hash of its words."""


def passages(text: str) -> list[Passage]:
    """Cut a text into passages, which joined give the text again."""
    ends = list(_merged(_ends(text)))
    if len(ends) > 1 and ends[-1] - ends[-2] < _SHORTEST:
        del ends[-2]
    cut = []
    for begin, end in itertools.pairwise([0, *ends]):
        piece = text[begin:end]
        cut.append(Passage(begin, end, count_words(piece), hashed(" ".join(_WORD.findall(piece.casefold())))))
    return cut


def hold_out_end(found: Sequence[Passage], test: float, validation: float) -> dict[str, Part]:
    """Choose the last passages of a text for the test, and those before them for validation.

    Args:
        found: the passages of a text.
        test: share of the words for the test.
        validation: share of the words for validation.

    Returns:
        the part of each chosen passage by its key; empty if too little would be left to train on.
    """
    total = _words(found)
    chosen: dict[str, Part] = {}
    taken = 0
    for passage in reversed(found):
        if taken >= total * (test + validation) and len(set(chosen.values())) == len(HELD_OUT):
            break
        chosen.setdefault(passage.key, "test" if taken < total * test else "validation")
        taken += passage.words
    return chosen if taken <= total * _MAX_HELD_OUT else {}


def assign_sides(found: Sequence[Passage], held_out: Mapping[str, Part]) -> list[Side]:
    """Return the side of each passage: as recorded, or the side of its neighbours if it is new."""
    marked: list[Part | None] = [held_out.get(passage.key) for passage in found]
    runs = _runs(marked)
    for number, (side, begin, end) in enumerate(runs):
        between = side is None and 0 < number < len(runs) - 1
        if (
            between
            and runs[number - 1][0] == runs[number + 1][0]
            and _words(found[begin:end]) <= _REVISED_WORDS
        ):
            marked[begin:end] = [runs[number - 1][0]] * (end - begin)
    settled: list[Side] = [side or "train" for side in marked]
    gap = min(GAP * _words(found), _MAX_GAP_WORDS)
    for side, begin, end in _runs(marked):
        if side is None:
            if begin > 0:
                _leave_gap(settled, found, range(begin, end), gap)
            if end < len(found):
                _leave_gap(settled, found, range(end - 1, begin - 1, -1), gap)
    return settled


def _leave_gap(settled: list[Side], found: Sequence[Passage], away: range, gap: float) -> None:
    """Leave passages unused, starting with those next to the held-out text."""
    left = gap
    for number in away:
        if left <= 0:
            return
        settled[number] = "gap"
        left -= found[number].words


def _runs(marked: Sequence[Part | None]) -> list[tuple[Part | None, int, int]]:
    runs = []
    begin = 0
    for side, group in itertools.groupby(marked):
        end = begin + len(list(group))
        runs.append((side, begin, end))
        begin = end
    return runs


def _ends(text: str) -> Iterator[int]:
    """Yield possible ends of passages: of paragraphs, of sentences in long ones, and within very long
    ones."""
    start = 0
    sentences: list[int] = []
    for end, ends_paragraph in sentence_boundaries(text):
        sentences.append(end)
        if ends_paragraph:
            for begin, sentence in itertools.pairwise(
                [start, *sentences] if end - start > _LONGEST else [start, end]
            ):
                yield from range(begin + _LONGEST, sentence, _LONGEST)
                yield sentence
            start = end
            sentences = []


def _merged(ends: Iterator[int]) -> Iterator[int]:
    start = last = 0
    for last in ends:
        if last - start >= _SHORTEST:
            yield last
            start = last
    if last > start:
        yield last


def _words(found: Sequence[Passage]) -> int:
    return sum(passage.words for passage in found)
