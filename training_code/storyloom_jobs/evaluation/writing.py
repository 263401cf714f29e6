"""Measures of what a model writes: copying, repetition, and distance from the author's style.

The style has three distances, each 0 for equal writing: function words, which nobody chooses on purpose
(Burrows's Delta, Literary and Linguistic Computing 17:3, 2002), sentence lengths, and letter triples.
"""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019\u00bb)\]]*(?:\s+|$)|\n\s*\n")

COPIED_RUN_WORDS = 12
"""A run of this many words that stands in a training story counts as copied rather than as chance."""
MIN_RUN_WORDS = 4
"""Shorter runs are common language and are not looked for."""
REPEATED_RUN_WORDS = 4
"""A run of this many words that occurs twice in an answer counts as repeated."""

FUNCTION_WORDS = 100
"""Number of the author's most frequent words to compare; in every language these are function words."""
SEGMENT_WORDS = 250
"""Words of a segment. Frequencies over the author's segments give the standard deviation of each word."""
MIN_SEGMENTS = 4
QUANTILES = 50


def split_words(text: str) -> list[str]:
    """Split a text into words in lower case; an apostrophe inside a word belongs to the word."""
    return re.findall(r"\w+(?:['\u2019]\w+)*", text.lower())


def sentence_lengths(text: str) -> list[int]:
    """Count the words of each sentence."""
    return [length for sentence in _SENTENCE_END.split(text) if (length := len(split_words(sentence)))]


@dataclass(frozen=True)
class CopiedText:
    """How much of the answers is copied from the training stories."""

    share: float
    """Share of the runs of COPIED_RUN_WORDS words that stand in the training stories, 0 to 1."""
    longest_run: int
    """Words of the longest copied run; 0 if it is shorter than MIN_RUN_WORDS."""


def measure_copying(answers: Iterable[str], training_texts: Iterable[str]) -> CopiedText:
    """Find runs of words that the answers share with the training stories, which are read only once."""
    in_answers = [split_words(answer) for answer in answers]
    positions: defaultdict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for number, own in enumerate(in_answers):
        for position in range(len(own) - MIN_RUN_WORDS + 1):
            positions[tuple(own[position : position + MIN_RUN_WORDS])].append((number, position))
    longest: dict[tuple[int, int], int] = {}
    for text in training_texts:
        _update_runs(split_words(text), positions, longest)
    runs = sum(max(0, len(own) - COPIED_RUN_WORDS + 1) for own in in_answers)
    copied = sum(length >= COPIED_RUN_WORDS for length in longest.values())
    return CopiedText(copied / runs if runs else 0.0, max(longest.values(), default=0))


def _update_runs(
    story: Sequence[str],
    positions: dict[tuple[str, ...], list[tuple[int, int]]],
    longest: dict[tuple[int, int], int],
) -> None:
    """Update, for each position in the answers, the longest run shared with the story that ends there.

    A position is that of the first of the run's last MIN_RUN_WORDS words.
    """
    running: dict[tuple[int, int], int] = {}
    for start in range(len(story) - MIN_RUN_WORDS + 1):
        found = positions.get(tuple(story[start : start + MIN_RUN_WORDS]), ())
        running = {(n, at): running.get((n, at - 1), MIN_RUN_WORDS - 1) + 1 for n, at in found}
        for position, length in running.items():
            longest[position] = max(length, longest.get(position, 0))


@dataclass(frozen=True)
class Repetition:
    """Repetition and variety of the answers, as shares from 0 to 1."""

    repeated: float
    """Share of the runs of REPEATED_RUN_WORDS words that occur earlier in the same answer."""
    distinct_1: float
    """Different words among all words of all answers; pairs and triples of words below."""
    distinct_2: float
    distinct_3: float


def measure_repetition(answers: Iterable[str]) -> Repetition:
    """Count repeated and distinct runs of words. Compare only answers of about the same length."""
    in_answers = [split_words(answer) for answer in answers]
    runs = [_runs(own, REPEATED_RUN_WORDS) for own in in_answers]
    total = sum(map(len, runs))
    repeated = sum(len(own) - len(set(own)) for own in runs)
    distinct = (_distinct_share(in_answers, length) for length in (1, 2, 3))
    return Repetition(repeated / total if total else 0.0, *distinct)


def _distinct_share(in_answers: Sequence[Sequence[str]], length: int) -> float:
    runs = [run for own in in_answers for run in _runs(own, length)]
    return len(set(runs)) / len(runs) if runs else 0.0


def _runs(own: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(own[start : start + length]) for start in range(len(own) - length + 1)]


@dataclass(frozen=True)
class StyleDistance:
    """Distance from the author's style. Compare only texts of equal length: short ones are farther away."""

    function_words: float
    """Mean difference of word frequencies, in the author's standard deviations."""
    sentence_lengths: float
    """Wasserstein distance of the sentence lengths, in words."""
    letters: float
    """Jensen-Shannon distance of the letter triples, 0 to 1."""


class AuthorStyle:
    """Style of the author's texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        own = [word for text in texts for word in split_words(text)]
        segments = [own[at : at + SEGMENT_WORDS] for at in range(0, len(own), SEGMENT_WORDS)]
        full = [segment for segment in segments if len(segment) == SEGMENT_WORDS]
        has_enough = len(full) >= MIN_SEGMENTS
        frequent = [word for word, _ in Counter(own).most_common(FUNCTION_WORDS)]
        counts = [Counter(segment) for segment in full]
        shares = {word: [count[word] / SEGMENT_WORDS for count in counts] for word in frequent}
        self._words = {
            word: (statistics.fmean(each), deviation)
            for word, each in shares.items()
            if has_enough and (deviation := statistics.stdev(each)) > 0
        }
        self._sentences = _quantiles([length for text in texts for length in sentence_lengths(text)])
        self._letters = _triples(texts)

    def distance(self, texts: Sequence[str]) -> StyleDistance | None:
        """Measure the distance of texts; return None if they, or the author's, are too short."""
        sentences = _quantiles([length for text in texts for length in sentence_lengths(text)])
        own = [word for text in texts for word in split_words(text)]
        if not self._words or not sentences or not self._sentences:
            return None
        count = Counter(own)
        deltas = [abs(count[word] / len(own) - mean) / sd for word, (mean, sd) in self._words.items()]
        gaps = [abs(mine - theirs) for mine, theirs in zip(sentences, self._sentences, strict=True)]
        letters = jensen_shannon(_triples(texts), self._letters)
        return StyleDistance(statistics.fmean(deltas), statistics.fmean(gaps), letters)


def truncate_to_equal_length(groups: dict[str, Sequence[str]]) -> dict[str, list[str]]:
    """Truncate each group of texts to the number of words of the shortest group."""
    shortest = min((sum(len(text.split()) for text in texts) for texts in groups.values()), default=0)
    return {name: list(_first_words(texts, shortest)) for name, texts in groups.items()}


def _first_words(texts: Iterable[str], count: int) -> Iterable[str]:
    for text in texts:
        end = 0
        for word in text.split()[:count]:
            end = text.index(word, end) + len(word)
            count -= 1
        if end:
            yield text[:end]


def jensen_shannon(one: Counter[str], other: Counter[str]) -> float:
    """Compute the distance of two distributions given as counts: 0 if equal, 1 if nothing is in common."""
    one_total, other_total = max(1, one.total()), max(1, other.total())
    divergence = 0.0
    for key in one.keys() | other.keys():
        p, q = one[key] / one_total, other[key] / other_total
        middle = (p + q) / 2
        divergence += sum(share * math.log2(share / middle) for share in (p, q) if share) / 2
    return math.sqrt(max(0.0, divergence))


def _triples(texts: Iterable[str]) -> Counter[str]:
    triples: Counter[str] = Counter()
    for text in texts:
        plain = " ".join(text.lower().split())
        triples.update(plain[at : at + 3] for at in range(len(plain) - 2))
    return triples


def _quantiles(lengths: Sequence[int]) -> list[float]:
    """Return evenly spaced quantiles; the mean gap of two such lists is their Wasserstein distance."""
    ordered = sorted(lengths)
    if not ordered:
        return []
    return [float(ordered[int((rank + 0.5) / QUANTILES * len(ordered))]) for rank in range(QUANTILES)]
