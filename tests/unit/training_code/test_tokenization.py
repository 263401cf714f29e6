import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from storyloom_jobs.container import JobError
from storyloom_jobs.tokenization import (
    IGNORE_INDEX,
    TokenSequence,
    collate,
    encode,
    read_examples,
    windows,
)
from storyloom_jobs.training.distributed import ProcessGroup
from storyloom_jobs.training.schedule import plan_steps
from tests.unit.tiny_model import END, chat_example, tiny_tokenizer

TOKENIZER: Any = tiny_tokenizer()
ENDS = frozenset([TOKENIZER.eos_token_id])


def loss_text(sequence: TokenSequence) -> str:
    tokens = [token for token, counts in zip(sequence.tokens, sequence.loss_mask, strict=True) if counts]
    return str(TOKENIZER.decode(tokens))


def test_only_the_answer_and_its_end_token_count_in_the_loss() -> None:
    sequence = encode(chat_example(1, "Once, a bell."), TOKENIZER, ENDS)
    assert loss_text(sequence) == f"Once, a bell.{END}"
    assert str(TOKENIZER.decode(list(sequence.tokens))).startswith("<|im_start|>user\nTell me tale 1.")


def test_no_end_token_counts_if_the_story_continues() -> None:
    broken_off = {**chat_example(1, "Once, a bell."), "ends": False}
    assert loss_text(encode(broken_off, TOKENIZER, ENDS)) == "Once, a bell."
    plain = encode({"text": "Once.", "ends": False}, TOKENIZER, ENDS)
    assert loss_text(plain) == "nce."
    assert not ENDS.intersection(plain.tokens)


def test_every_answer_of_a_longer_chat_counts_in_the_loss() -> None:
    turns = [
        {"role": role, "content": text}
        for role, text in [("user", "a?"), ("assistant", "one"), ("user", "b?"), ("assistant", "two")]
    ]
    assert loss_text(encode({"messages": turns}, TOKENIZER, ENDS)) == f"one{END}two{END}"


def test_the_prompt_has_the_same_tokens_as_at_inference() -> None:
    example = chat_example(1, "Once.")
    sequence = encode(example, TOKENIZER, ENDS)
    asked = TOKENIZER.apply_chat_template(
        example["messages"][:1], add_generation_prompt=True, return_dict=False
    )
    assert list(sequence.tokens[: len(asked)]) == asked
    assert not any(sequence.loss_mask[: len(asked)]) and sequence.loss_mask[len(asked)]


def test_all_of_a_plain_text_and_its_end_token_count_in_the_loss() -> None:
    sequence = encode({"text": "Once."}, TOKENIZER, ENDS)
    assert loss_text(sequence) == f"nce.{END}"


def test_an_end_token_is_added_if_the_template_has_none() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"  # noqa: E501
    assert loss_text(encode(chat_example(1, "Once."), tokenizer, ENDS)) == f"Once.{END}"


def test_only_the_last_answer_counts_if_the_template_shortens_earlier_ones() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}:{% if m['role'] == 'user' or loop.last %}{{ m['content'] }}"
        "{% else %}…{% endif %}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    turns = [
        {"role": role, "content": text}
        for role, text in [("user", "a?"), ("assistant", "one"), ("user", "b?"), ("assistant", "two")]
    ]
    assert loss_text(encode({"messages": turns}, tokenizer, ENDS)) == f"two{END}"


def test_chats_need_a_chat_template() -> None:
    with pytest.raises(JobError, match="no chat template"):
        encode(chat_example(1, "x"), tiny_tokenizer(chat=False), ENDS)


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(2, 20))
def test_each_token_counts_in_one_window_that_has_the_token_before_it(
    loss_mask: list[bool], length: int
) -> None:
    loss_mask[0] = False
    whole = TokenSequence(tuple(range(len(loss_mask))), tuple(loss_mask))
    seen: list[int] = []
    for window in windows(whole, length):
        assert len(window) <= length and not window.loss_mask[0]
        assert list(window.tokens) == list(range(window.tokens[0], window.tokens[-1] + 1))
        seen += [token for token, counts in zip(window.tokens, window.loss_mask, strict=True) if counts]
    assert seen == [token for token in whole.tokens if whole.loss_mask[token]]


@given(st.lists(st.integers(2, 50), min_size=1, max_size=80), st.integers(0, 5), st.integers(1, 3))
def test_every_row_is_planned_once_an_epoch_and_steps_fit(lengths: list[int], seed: int, epochs: int) -> None:
    plan = plan_steps(lengths, 64, epochs, seed)
    counts = Counter(row for step in plan for row in step)
    assert counts == dict.fromkeys(range(len(lengths)), epochs)
    assert all(len(step) == 1 or sum(lengths[row] for row in step) <= 64 for step in plan)
    assert plan == plan_steps(lengths, 64, epochs, seed)


@pytest.mark.parametrize(("longest", "allowed"), [(470, 1.03), (100, 1.02), (1024, 1.08)])
def test_two_processes_hardly_wait_for_each_other(longest: int, allowed: float) -> None:
    """A step lasts as long as its longer half: 1.16 times as long before steps were planned in halves."""
    draw = random.Random(17)  # noqa: S311 (not a secret)
    rows = [TokenSequence((1,) * length, (True,) * length) for length in _story_lengths(draw, longest)]
    steps = plan_steps([len(row) for row in rows], 2048, 1, 17)
    slower = sum(
        max(sum(map(len, ProcessGroup(rank, 2).local_rows([rows[row] for row in step]))) for rank in range(2))
        for step in steps
    )
    assert 2 * slower / sum(map(len, rows)) < allowed


def _story_lengths(draw: random.Random, longest: int) -> list[int]:
    return [round(longest * draw.triangular(0.5, 1.0, 0.9)) for _ in range(400)]


def test_labels_are_the_next_tokens() -> None:
    rows = [
        TokenSequence((5, 6, 7, 8), (False, False, True, True)),
        TokenSequence((9, 10), (False, True)),
    ]
    batch = collate(rows, torch.device("cpu"))
    none = IGNORE_INDEX
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 10]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 0, 1]]
    assert batch.labels.tolist() == [[none, 7, 8, none, 10, none]]
    assert batch.lengths == (4, 2)
    assert batch.num_loss_tokens == 3


def test_an_empty_dataset_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "examples.jsonl").write_text("\n")
    with pytest.raises(JobError, match="The train dataset is empty"):
        read_examples(tmp_path, "train")


def test_a_broken_line_is_named_but_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "examples.jsonl").write_text('{"text": "fine"}\n{"secret tale"\n')
    with pytest.raises(JobError, match=r"examples\.jsonl, line 2") as caught:
        read_examples(tmp_path, "train")
    assert "secret" not in str(caught.value)
