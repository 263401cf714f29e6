"""The measures of writing, compared with figures computed by hand or by a few plain lines."""

import difflib
import math
import random
from collections import Counter

import pytest

from storyloom_jobs.evaluation.bootstrap import improvement_interval, perplexity_interval, sum_by_unit
from storyloom_jobs.evaluation.writing import (
    AuthorStyle,
    jensen_shannon,
    measure_copying,
    measure_repetition,
    sentence_lengths,
    split_words,
    truncate_to_equal_length,
)
from storyloom_jobs.loss import RowLoss

STORY = "The old bell rang twice, and nobody on the island came to see what it wanted until the tide was out."


def test_a_copied_run_is_found_with_its_length() -> None:
    whole = measure_copying([STORY.upper()], ["Before it. " + STORY + " After it."])
    assert (whole.share, whole.longest_run) == (1.0, 21)
    piece = measure_copying(["Once upon a time the old bell rang twice and then it sank."], [STORY])
    assert (piece.share, piece.longest_run) == (0.0, 6)
    assert measure_copying(["quite another tale of a goose"], [STORY]).longest_run == 0
    assert measure_copying(["too short"], [STORY]).share == 0.0


def test_longest_runs_match_difflib() -> None:
    rng = random.Random(3)  # noqa: S311
    for _ in range(20):
        told, own = ([rng.choice("abc") for _ in range(60)] for _ in range(2))
        match = difflib.SequenceMatcher(None, own, told, autojunk=False).find_longest_match()
        runs = {tuple(told[at : at + 12]) for at in range(49)}
        found = measure_copying([" ".join(own)], [" ".join(told)])
        assert found.longest_run == (match.size if match.size >= 4 else 0)
        assert found.share == pytest.approx(sum(tuple(own[at : at + 12]) in runs for at in range(49)) / 49)


def test_a_copied_run_does_not_continue_into_the_next_story() -> None:
    first, second = STORY.split(", ")
    assert measure_copying([STORY], [first, second]).longest_run == len(split_words(second))


def test_repetition_is_measured() -> None:
    circle = measure_repetition(["the sea took the bell " * 10])
    assert circle.repeated == pytest.approx(1 - 5 / 47)
    assert circle.distinct_1 == pytest.approx(4 / 50)
    assert measure_repetition([STORY]).repeated == 0.0
    # Two answers may say the same: each is asked something else.
    assert (
        measure_repetition([STORY, STORY]).repeated == 0.0
        and measure_repetition([STORY, STORY]).distinct_3 < 0.6
    )
    assert measure_repetition([""]).distinct_1 == 0.0


def test_sentences_are_counted_in_words() -> None:
    assert sentence_lengths('"Go on," she said. He didn\'t! Why… not?\n\nA new one') == [4, 2, 1, 1, 3]


def test_the_authors_own_text_is_nearer_than_a_strangers() -> None:
    rng = random.Random(1)  # noqa: S311

    def text(share: float, sentence: int, count: int) -> str:
        """`share` of the words are small ones."""
        chosen = [
            rng.choice(["and", "but", "so"] if rng.random() < share else ["sea", "hill"])
            for _ in range(count)
        ]
        return " ".join(word + ("." if place % sentence == 0 else "") for place, word in enumerate(chosen, 1))

    author = AuthorStyle([text(0.5, 6, 3000)])
    own, stranger = author.distance([text(0.5, 6, 500)]), author.distance([text(0.2, 15, 500)])
    assert own is not None and stranger is not None
    assert own.function_words < stranger.function_words / 2
    assert own.sentence_lengths == pytest.approx(0, abs=0.5)
    assert stranger.sentence_lengths == pytest.approx(9, abs=0.6)
    assert own.letters < stranger.letters
    assert AuthorStyle(["too short."]).distance(["too short."]) is None


def test_the_letter_distance_follows_its_definition() -> None:
    assert jensen_shannon(Counter("aab"), Counter("aab")) == 0.0
    assert jensen_shannon(Counter("a"), Counter("b")) == pytest.approx(1.0)
    half = (math.log2(1 / 0.75) + 0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25)) / 2
    assert jensen_shannon(Counter("a"), Counter("ab")) == pytest.approx(math.sqrt(half))


def test_texts_are_truncated_to_the_same_length() -> None:
    cut = truncate_to_equal_length({"one": ["a b c", "d e"], "other": ["f g", "h  i", "j k"]})
    assert cut == {"one": ["a b c", "d e"], "other": ["f g", "h  i", "j"]}


def test_differences_are_paired() -> None:
    """Stories that are hard for both say nothing about the difference: it is known better than either."""
    hard = [RowLoss(nats=100.0 * n, num_tokens=100) for n in range(1, 9)]
    little_better = [RowLoss(row.nats - 5.0, 100) for row in hard]
    stories = [f"s{n}" for n in range(8)]
    sums = sum_by_unit(stories, list(range(8)), {"base": hard, "candidate": little_better})
    assert sums is not None and sums.unit == "story"
    own = perplexity_interval(sums, "candidate", 1)
    assert own.high > 5 * own.low
    better = improvement_interval(sums, "candidate", "base", 1)
    assert better.low == pytest.approx(better.high) == pytest.approx(100 * (1 - math.exp(-0.05)))


def test_passages_are_resampled_if_there_are_few_stories() -> None:
    rows = [RowLoss(100.0, 100)] * 6
    sums = sum_by_unit(["a"] * 3 + ["b"] * 3, [0, 0, 1, 2, 3, 4], {"base": rows, "candidate": rows[:5]})
    assert sums is not None and (sums.unit, sums.num_tokens) == ("passage", (200, 100, 100, 100))
    assert sum_by_unit(["a"] * 3, [0, 1, 2], {"base": rows[:3]}) is None
