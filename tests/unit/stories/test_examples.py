"""Prompts and answers use every word of a story once, in order, and end at the ends of sentences."""

import json
import re
from collections import Counter
from collections.abc import Callable

import pytest

from stories.dataset.examples import build_examples, window_tokens
from stories.dataset.windows import cut_windows, last_sentences
from stories.language import estimate_tokens
from stories.records import Record
from tests.unit.stories.material import Assembled, only_record, prose, read, read_all

DIALOGUE = (
    "“Mr. Tuck,” said Miss Brace, “is late.” He was not. Dr. Quennell saw him on the stair! Was it he? It "
    "was J. Nance, she thought… A bell rang. "
)


def _record(text: str = prose(1), title: str = "The Well") -> Record:
    record = only_record(read("tales/the-well.md", f"# {title}\n\n{text}".encode()))
    return record.model_copy(update={"language": "en"})


@pytest.mark.parametrize("words", [12, 100, 280, 600, 3000])
@pytest.mark.parametrize("max_tokens", [40, 100, 400])
def test_windows_are_the_text_and_fit(words: int, max_tokens: int) -> None:
    text = prose(2, words)
    windows = cut_windows(text, max_tokens, "en")
    assert "".join(windows) == text
    assert all(0 < estimate_tokens(window, "en") <= max_tokens + 1 for window in windows)


def test_windows_end_at_sentence_ends() -> None:
    for window in cut_windows(DIALOGUE * 30, 60, "en"):
        assert re.search(r"[.!?…”]\s*\Z", window), window
        assert not re.search(r"(Mr|Dr|J)\.\s*\Z", window), window


def test_windows_are_of_even_length() -> None:
    sizes = [estimate_tokens(window, "en") for window in cut_windows(prose(3, 2000), 400, "en")]
    assert min(sizes) > 0.5 * max(sizes)


@pytest.mark.parametrize("text", ["word " * 2000, "字" * 3000, "x" * 5000])
def test_text_without_sentences_is_cut_too(text: str) -> None:
    windows = cut_windows(text, 200, "en")
    assert "".join(windows) == text
    assert all(estimate_tokens(window, "en") <= 201 for window in windows)


def test_the_last_sentences_that_fit_are_returned() -> None:
    text = "One came. Two went. Three stayed behind with the cat. "
    assert last_sentences(text, 13, "en") == "Two went. Three stayed behind with the cat."
    assert last_sentences(text, 1, "en").endswith("cat.")
    assert last_sentences("", 20, "en") == ""


def test_the_answers_are_the_story_and_the_prompts_lead_on() -> None:
    record = _record(prose(4, 1500))
    examples = list(build_examples(record, 0, None, chat=True, sequence_length=512))
    assert len(examples) > 4
    assert all(
        [turn["role"] for turn in example["messages"]] == ["user", "assistant"] for example in examples
    )
    answers = [example["messages"][1]["content"] for example in examples]
    assert " ".join(" ".join(answers).split()) in " ".join(record.text.split())
    for before, example in zip(answers, examples[1:], strict=False):
        request = example["messages"][0]["content"]
        assert before.endswith(request.rsplit("\n\n", 1)[1].split(" ")[-1])
        assert "“The Well”" in request
        assert example["messages"][1]["content"] not in request


def test_first_prompts_vary_and_some_give_the_opening() -> None:
    requests, openings = Counter[str](), 0
    for seed in range(80):
        record = _record(prose(seed, 300), title="The Well")
        first = next(build_examples(record, 0, None, chat=True, sequence_length=512))
        request, answer = (turn["content"] for turn in first["messages"])
        if "the well" in request.casefold():
            requests[request] += 1
            assert record.text.startswith(answer)
        else:
            openings += 1
            opening = request.split("\n\n", 1)[1]
            assert record.text.startswith(f"{opening}\n\n{answer[:50]}")
    assert len(requests) >= 5
    assert 8 <= openings <= 35


def test_plain_models_get_text_with_the_title_once() -> None:
    record = _record(prose(5, 900))
    texts = [example["text"] for example in build_examples(record, 0, None, chat=False, sequence_length=512)]
    assert texts[0].startswith("The Well\n\n")
    assert "The Well" not in "".join(texts[1:])
    assert " ".join(" ".join(texts).split()) == " ".join(f"The Well {record.text}".split())


def test_prompts_for_chapters_name_their_book() -> None:
    record = only_record(read("great tarry/chapter-3.txt", f"Chapter 3\n\n{prose(6)}".encode()))
    first = next(build_examples(record, 0, None, chat=True, sequence_length=512))
    assert first["title"] == "Great tarry, Chapter 3"


def test_chats_pass_through(assembled: Callable[..., Assembled]) -> None:
    turns = [
        {"role": "user", "content": "Who broke the jug?"},
        {"role": "assistant", "content": prose(99, 900)},
    ]
    rows = "".join(
        json.dumps(
            {"messages": [{"role": "user", "content": f"Question {n}?"}, {**turns[1], "content": prose(n)}]}
        )
        + "\n"
        for n in range(20)
    )
    _, parts = assembled(read_all({"chats.jsonl": (rows + json.dumps({"messages": turns})).encode()}))
    lines = [json.loads(line) for part in parts.values() for line in part.splitlines()]
    assert len(lines) == 21
    assert turns in [line["messages"] for line in lines]
    _, plain = assembled(read_all({"chats.jsonl": rows.encode()}), chat=False)
    assert all(set(json.loads(line)) == {"story_id", "title", "text"} for line in plain["train"].splitlines())


def test_a_longer_sequence_gives_longer_windows() -> None:
    record = _record(prose(8, 3000))
    counts = [
        len(list(build_examples(record, 0, None, chat=True, sequence_length=length)))
        for length in (256, 512, 2048)
    ]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 3
    assert window_tokens(16) > 0


def test_only_the_last_window_ends() -> None:
    for chat in (True, False):
        examples = list(build_examples(_record(prose(9, 1500)), 0, None, chat=chat, sequence_length=512))
        assert [example.get("ends", True) for example in examples] == [False] * (len(examples) - 1) + [True]
    record = _record(prose(9, 1500))
    part = list(build_examples(record, 0, len(record.text) // 2, chat=True, sequence_length=512))
    assert not any(example.get("ends", True) for example in part)
