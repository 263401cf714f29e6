"""The content of `evaluation.json`, which the evaluation job writes and the gate reads.

`training_code/evaluation.py` makes it; a test holds that its output is exactly this.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Share = float
"""From 0 to 1."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Style(_Part):
    """How far some text is from the author's; 0 is the same, comparable at the same length only."""

    function_words: float
    """Mean difference in how frequent the small words are, in the author's standard deviations."""
    sentence_lengths: float
    """Mean difference of a sentence's length, in words."""
    letters: float
    """Jensen-Shannon distance of the triples of letters, 0 to 1."""


class Writing(_Part):
    """What a model wrote when it was asked."""

    answers: int
    """Those written freely; what follows a training story's first words is not among them."""
    words: int
    copied_share: Share
    """Of the runs of twelve words, those that stand in a training story."""
    longest_copy: int
    """Words of the longest copied run."""
    extracted_share: Share
    """The same of what it wrote after the first words of a training story."""
    longest_extract: int
    finishing_asked: int
    """Answers that were begun for it up to a story's last sentence."""
    finishing_ended: int
    """Those of them that it ended by itself."""
    repeated: Share
    """Of the runs of four words, those that the same answer has said before."""
    distinct_1: Share
    """Different words among all words; of pairs and triples below."""
    distinct_2: Share
    distinct_3: Share
    style: Style | None
    """None where there is too little text to tell."""


class Score(_Part):
    """One model on the held-out stories."""

    perplexity: float
    low: float | None
    """The 95% interval; None where there are too few stories for one."""
    high: float | None
    tokens: int
    ending_chance: Share | None
    """The mean chance the model gives to ending where a story ends; None where none does."""
    writing: Writing


class Comparison(_Part):
    """By how many percent the candidate's perplexity is lower than another model's."""

    improvement_percent: float
    low: float | None
    """The 95% interval of the difference on the same stories; None where there are too few."""
    high: float | None


class Sample(_Part):
    """One request and what each model answered."""

    kind: Literal["telling", "opening", "finishing"]
    prompt: str
    begun: str
    """The words that were put into the model's mouth."""
    base: str
    candidate: str
    live: str | None


class Evaluation(_Part):
    """What the evaluation job found."""

    base: Score
    candidate: Score
    live: Score | None
    over_base: Comparison
    over_live: Comparison | None
    drawn: Literal["story", "passage"] | None
    """What the intervals are drawn from; None where there is too little of either."""
    drawn_from: int
    held_out_style: Style | None
    """Of held-out stories by the author, at the same length as the models' texts: as near as can be."""
    samples: list[Sample]
    adapter_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    test_stories: int
