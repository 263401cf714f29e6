"""The content of `evaluation.json`, which the evaluation job writes and the gate reads.

The training code writes it; a test checks that its output is exactly this.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Share = float
"""From 0 to 1."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Style(_Part):
    """Distance of a text from the author's style; 0 is equal. Only texts of one length are comparable."""

    function_words: float
    """Mean difference in how frequent the small words are, in the author's standard deviations."""
    sentence_lengths: float
    """Mean difference of a sentence's length, in words."""
    letters: float
    """Jensen-Shannon distance of the triples of letters, 0 to 1."""


class Writing(_Part):
    """Measurements of what a model wrote."""

    answers: int
    """Number of free answers; continuations of a training story's first words are not included."""
    words: int
    copied_share: Share
    """Share of all sequences of twelve words that occur in a training story."""
    longest_copy: int
    """Length of the longest copied sequence, in words."""
    extracted_share: Share
    """The copied share of its continuations of a training story's first words."""
    longest_extract: int
    finishing_asked: int
    """Number of answers that were begun for the model up to a story's last sentence."""
    finishing_ended: int
    """Number of these answers that it ended by itself."""
    repeated: Share
    """Share of all sequences of four words that occur earlier in the same answer."""
    distinct_1: Share
    """Share of distinct words among all words; below, of pairs and triples."""
    distinct_2: Share
    distinct_3: Share
    style: Style | None
    """None if there is too little text."""


class Score(_Part):
    """The scores of one model on the held-out stories."""

    perplexity: float
    low: float | None
    """The 95% interval; None if there are too few stories."""
    high: float | None
    tokens: int
    ending_chance: Share | None
    """The mean probability that the model gives to ending at a story's end; None if no story ends."""
    writing: Writing


class Comparison(_Part):
    """By how many percent the candidate's perplexity is lower than another model's."""

    improvement_percent: float
    low: float | None
    """The 95% interval of the difference on the same stories; None if there are too few."""
    high: float | None


class Sample(_Part):
    """A prompt, and the answer of each model."""

    kind: Literal["telling", "opening", "finishing"]
    prompt: str
    begun: str
    """The words with which every answer was begun."""
    base: str
    candidate: str
    live: str | None


class EvaluationResult(_Part):
    """The result of the evaluation job."""

    base: Score
    candidate: Score
    live: Score | None
    over_base: Comparison
    over_live: Comparison | None
    drawn: Literal["story", "passage"] | None
    """The unit of the bootstrap behind the intervals; None if there are too few of either."""
    drawn_from: int
    held_out_style: Style | None
    """The author's held-out stories, at the length of the models' texts: the best possible value."""
    samples: list[Sample]
    adapter_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    test_stories: int
