"""Choosing tokens: what a request asks for, on logits small enough to check by hand."""

from typing import Any

import pytest
import torch

from local.endpoint_server.sampling import Sampling, TokenChooser, token_logprobs

LOGITS = torch.tensor([2.0, 1.9, -1.0, 0.5])


def _chooser(prompt: list[int], **changes: Any) -> TokenChooser:
    settings: dict[str, Any] = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0, **changes}
    return TokenChooser(Sampling(**settings, max_tokens=8, stop=(), seed=7), prompt)


def test_temperature_zero_takes_the_likeliest_again_and_again() -> None:
    chooser = _chooser([])
    assert [chooser.choose(LOGITS) for _ in range(3)] == [0, 0, 0]


def test_a_repetition_penalty_counts_the_answer_and_the_prompt() -> None:
    chooser = _chooser([], repetition_penalty=1.2)
    # 2.0 / 1.2 is below 1.9, and 1.9 / 1.2 is below 2.0 / 1.2
    assert [chooser.choose(LOGITS) for _ in range(3)] == [0, 1, 0]
    assert _chooser([0], repetition_penalty=1.2).choose(LOGITS) == 1


def test_a_penalty_makes_negative_logits_more_negative() -> None:
    logits = torch.tensor([-1.0, -1.1])
    assert _chooser([0], repetition_penalty=1.2).choose(logits) == 1


def test_top_p_keeps_the_likeliest_even_where_it_is_tiny() -> None:
    chooser = _chooser([], temperature=1.0, top_p=0.01)
    assert {chooser.choose(LOGITS) for _ in range(20)} == {0}


def test_frequency_and_presence_count_the_answer_alone() -> None:
    chooser = _chooser([0], presence_penalty=0.2)
    # the prompt's token 0 is not punished; once written, 2.0 - 0.2 is below 1.9, and 1.9 - 0.2 below 1.8
    assert [chooser.choose(LOGITS) for _ in range(3)] == [0, 1, 0]
    chooser = _chooser([], frequency_penalty=0.5)
    # 2.0, 1.9, 1.5 (once), 1.4 (once), 1.0 (twice)
    assert [chooser.choose(LOGITS) for _ in range(5)] == [0, 1, 0, 1, 0]
    rewarded = _chooser([], frequency_penalty=-2.0)
    assert [rewarded.choose(torch.tensor([1.0, 1.5])) for _ in range(3)] == [1, 1, 1]


def test_a_bias_comes_before_the_penalties() -> None:
    settings = Sampling(0.0, 1.0, 2.0, 8, (), 7, logit_bias={2: 4.0})
    # -1.0 + 4.0 = 3.0; seen in the prompt, it is halved, and 1.5 is below 2.0
    assert TokenChooser(settings, []).choose(LOGITS) == 2
    assert TokenChooser(settings, [2]).choose(LOGITS) == 0


def test_min_p_and_top_k_keep_the_likely() -> None:
    flat: dict[str, Any] = {"temperature": 100.0}
    assert {_chooser([], **flat, min_p=1.0).choose(LOGITS) for _ in range(20)} == {0}
    two = _chooser([], **flat, top_k=2)
    assert {two.choose(LOGITS) for _ in range(60)} == {0, 1}
    every = _chooser([], **flat, top_k=-1)
    assert {every.choose(LOGITS) for _ in range(200)} == {0, 1, 2, 3}


def test_a_seed_of_minus_one_is_none() -> None:
    told = [[_seeded(-1).choose(LOGITS) for _ in range(1)] for _ in range(40)]
    assert len({tuple(one) for one in told}) > 1


def _seeded(seed: int) -> TokenChooser:
    return TokenChooser(Sampling(2.0, 1.0, 1.0, 8, (), seed), [])


def test_log_probabilities_are_the_models_own() -> None:
    """Before penalties and temperature, as vLLM tells them."""

    class Letters:
        def decode(self, tokens: list[int]) -> str:
            return "abcd"[tokens[0]]

    told = token_logprobs(LOGITS, 3, 2, Letters())
    expected = torch.log_softmax(LOGITS, dim=-1).tolist()
    assert told.token == "d"
    assert told.logprob == pytest.approx(expected[3])
    assert [token for token, _ in told.likeliest] == ["a", "b"]
    assert [value for _, value in told.likeliest] == pytest.approx(expected[:2])


def test_a_seed_repeats_an_answer() -> None:
    first, second = (_chooser([], temperature=1.0) for _ in range(2))
    assert [first.choose(LOGITS) for _ in range(20)] == [second.choose(LOGITS) for _ in range(20)]
