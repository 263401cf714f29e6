import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tiny_model import END, chat_example, tiny_tokenizer
from training_code.container import JobError
from training_code.data import (
    NOT_TAUGHT,
    TokenSequence,
    collate,
    encode,
    plan_steps,
    read_examples,
    windows,
)
from training_code.distributed import Team

TOKENIZER: Any = tiny_tokenizer()
ENDS = frozenset([TOKENIZER.eos_token_id])


def taught_text(sequence: TokenSequence) -> str:
    tokens = [token for token, taught in zip(sequence.tokens, sequence.taught, strict=True) if taught]
    return str(TOKENIZER.decode(tokens))


def test_only_the_answer_and_its_end_are_taught() -> None:
    sequence = encode(chat_example(1, "Once, a bell."), TOKENIZER, ENDS)
    assert taught_text(sequence) == f"Once, a bell.{END}"
    assert str(TOKENIZER.decode(list(sequence.tokens))).startswith("<|im_start|>user\nTell me tale 1.")


def test_where_a_story_breaks_off_no_end_is_taught() -> None:
    broken_off = {**chat_example(1, "Once, a bell."), "ends": False}
    assert taught_text(encode(broken_off, TOKENIZER, ENDS)) == "Once, a bell."
    plain = encode({"text": "Once.", "ends": False}, TOKENIZER, ENDS)
    assert taught_text(plain) == "nce."
    assert not ENDS.intersection(plain.tokens)


def test_every_answer_of_a_longer_chat_is_taught() -> None:
    turns = [
        {"role": role, "content": text}
        for role, text in [("user", "a?"), ("assistant", "one"), ("user", "b?"), ("assistant", "two")]
    ]
    assert taught_text(encode({"messages": turns}, TOKENIZER, ENDS)) == f"one{END}two{END}"


def test_the_prompt_has_the_tokens_that_it_has_when_the_model_is_asked() -> None:
    example = chat_example(1, "Once.")
    sequence = encode(example, TOKENIZER, ENDS)
    asked = TOKENIZER.apply_chat_template(
        example["messages"][:1], add_generation_prompt=True, return_dict=False
    )
    assert list(sequence.tokens[: len(asked)]) == asked
    assert not any(sequence.taught[: len(asked)]) and sequence.taught[len(asked)]


def test_plain_text_is_taught_whole_and_ends() -> None:
    sequence = encode({"text": "Once."}, TOKENIZER, ENDS)
    assert taught_text(sequence) == f"nce.{END}"


def test_a_template_without_an_end_gets_one() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"  # noqa: E501
    assert taught_text(encode(chat_example(1, "Once."), tokenizer, ENDS)) == f"Once.{END}"


def test_a_template_that_shortens_earlier_answers_teaches_the_last_one() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}:{% if m['role'] == 'user' or loop.last %}{{ m['content'] }}"
        "{% else %}…{% endif %}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    turns = [
        {"role": role, "content": text}
        for role, text in [("user", "a?"), ("assistant", "one"), ("user", "b?"), ("assistant", "two")]
    ]
    assert taught_text(encode({"messages": turns}, tokenizer, ENDS)) == f"two{END}"


def test_chats_need_a_chat_template() -> None:
    with pytest.raises(JobError, match="no chat template"):
        encode(chat_example(1, "x"), tiny_tokenizer(chat=False), ENDS)


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(2, 20))
def test_windows_teach_each_token_once_with_the_token_before_it(taught: list[bool], length: int) -> None:
    taught[0] = False
    whole = TokenSequence(tuple(range(len(taught))), tuple(taught))
    seen: list[int] = []
    for window in windows(whole, length):
        assert len(window) <= length and not window.taught[0]
        assert list(window.tokens) == list(range(window.tokens[0], window.tokens[-1] + 1))
        seen += [token for token, says in zip(window.tokens, window.taught, strict=True) if says]
    assert seen == [token for token in whole.tokens if whole.taught[token]]


@given(st.lists(st.integers(2, 50), min_size=1, max_size=80), st.integers(0, 5), st.integers(1, 3))
def test_every_row_comes_once_an_epoch_and_steps_fit(lengths: list[int], seed: int, epochs: int) -> None:
    plan = plan_steps(lengths, 64, epochs, seed)
    counts = Counter(row for step in plan for row in step)
    assert counts == dict.fromkeys(range(len(lengths)), epochs)
    assert all(len(step) == 1 or sum(lengths[row] for row in step) <= 64 for step in plan)
    assert plan == plan_steps(lengths, 64, epochs, seed)


@pytest.mark.parametrize(("longest", "allowed"), [(470, 1.03), (100, 1.02), (1024, 1.08)])
def test_two_processes_hardly_wait_for_each_other(longest: int, allowed: float) -> None:
    """A step lasts as long as its longer half: 1.16 times as long, before steps were planned in halves."""
    draw = random.Random(17)  # noqa: S311 (not a secret)
    rows = [TokenSequence((1,) * length, (True,) * length) for length in _story_lengths(draw, longest)]
    steps = plan_steps([len(row) for row in rows], 2048, 1, 17)
    slower = sum(
        max(sum(map(len, Team(rank, 2).share([rows[row] for row in step]))) for rank in range(2))
        for step in steps
    )
    assert 2 * slower / sum(map(len, rows)) < allowed


def _story_lengths(draw: random.Random, longest: int) -> list[int]:
    return [round(longest * draw.triangular(0.5, 1.0, 0.9)) for _ in range(400)]


def test_labels_are_the_tokens_that_follow() -> None:
    rows = [
        TokenSequence((5, 6, 7, 8), (False, False, True, True)),
        TokenSequence((9, 10), (False, True)),
    ]
    batch = collate(rows, torch.device("cpu"))
    none = NOT_TAUGHT
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 10]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 0, 1]]
    assert batch.labels.tolist() == [[none, 7, 8, none, 10, none]]
    assert batch.lengths == (4, 2)
    assert batch.taught_tokens == 3


def test_an_empty_dataset_says_so(tmp_path: Path) -> None:
    (tmp_path / "examples.jsonl").write_text("\n")
    with pytest.raises(JobError, match="The train dataset is empty"):
        read_examples(tmp_path, "train")


def test_a_broken_line_is_named_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "examples.jsonl").write_text('{"text": "fine"}\n{"secret tale"\n')
    with pytest.raises(JobError, match=r"examples\.jsonl, line 2") as caught:
        read_examples(tmp_path, "train")
    assert "secret" not in str(caught.value)
