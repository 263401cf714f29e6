"""How far a text is from the author's way of writing, whatever it tells.

Three distances, each 0 for the same writing: of the small words that nobody chooses on purpose (Burrows's
Delta, Literary and Linguistic Computing 17:3, 2002), of the sentences' lengths, and of the letters.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training_code.words import sentence_lengths, words

FUNCTION_WORDS = 100
"""The author's most frequent words; in every language these are the small ones."""
SEGMENT_WORDS = 250
"""The author's text is cut into such pieces to see how much a word's frequency varies by itself."""
FEWEST_SEGMENTS = 4
QUANTILES = 50


@dataclass(frozen=True)
class Distance:
    """From the author; compare only texts of about the same length, short ones are farther from anything."""

    function_words: float
    """Mean difference of the frequencies, in the author's own standard deviations."""
    sentence_lengths: float
    """Mean difference of a sentence's length in words (Wasserstein distance)."""
    letters: float
    """Jensen-Shannon distance of the triples of letters, 0 to 1."""


class Author:
    """What the author's texts are like."""

    def __init__(self, texts: Sequence[str]) -> None:
        own = [word for text in texts for word in words(text)]
        segments = [own[at : at + SEGMENT_WORDS] for at in range(0, len(own), SEGMENT_WORDS)]
        full = [segment for segment in segments if len(segment) == SEGMENT_WORDS]
        self._known = len(full) >= FEWEST_SEGMENTS
        frequent = [word for word, _ in Counter(own).most_common(FUNCTION_WORDS)]
        counts = [Counter(segment) for segment in full]
        shares = {word: [count[word] / SEGMENT_WORDS for count in counts] for word in frequent}
        self._words = {
            word: (statistics.fmean(each), deviation)
            for word, each in shares.items()
            if self._known and (deviation := statistics.stdev(each)) > 0
        }
        self._sentences = _quantiles([length for text in texts for length in sentence_lengths(text)])
        self._letters = _triples(texts)

    def distance(self, texts: Sequence[str]) -> Distance | None:
        """How far the texts are; None where they, or the author's own, are too short to tell."""
        sentences = _quantiles([length for text in texts for length in sentence_lengths(text)])
        own = [word for text in texts for word in words(text)]
        if not self._words or not sentences or not self._sentences:
            return None
        count = Counter(own)
        deltas = [abs(count[word] / len(own) - mean) / sd for word, (mean, sd) in self._words.items()]
        gaps = [abs(mine - theirs) for mine, theirs in zip(sentences, self._sentences, strict=True)]
        letters = jensen_shannon(_triples(texts), self._letters)
        return Distance(statistics.fmean(deltas), statistics.fmean(gaps), letters)


def of_equal_length(groups: dict[str, Sequence[str]]) -> dict[str, list[str]]:
    """Each group's texts, cut off so that every group has as many words as the shortest."""
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
    """The distance of two distributions given as counts: 0 for the same, 1 for nothing in common."""
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
    """The lengths at evenly spaced ranks; between two such lists the mean gap is the Wasserstein distance."""
    ordered = sorted(lengths)
    if not ordered:
        return []
    return [float(ordered[int((rank + 0.5) / QUANTILES * len(ordered))]) for rank in range(QUANTILES)]
