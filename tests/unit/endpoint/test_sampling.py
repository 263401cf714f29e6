"""Choosing tokens: what a request asks for, on logits small enough to check by hand."""

import torch

from local.endpoint_server.sampling import Sampling, TokenChooser

LOGITS = torch.tensor([2.0, 1.9, -1.0, 0.5])


def _chooser(prompt: list[int], **changes: float) -> TokenChooser:
    settings = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0, **changes}
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


def test_a_seed_repeats_an_answer() -> None:
    first, second = (_chooser([], temperature=1.0) for _ in range(2))
    assert [first.choose(LOGITS) for _ in range(20)] == [second.choose(LOGITS) for _ in range(20)]
