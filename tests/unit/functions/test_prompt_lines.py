"""The lines that a batch accepts, and the errors for those that it refuses."""

import dataclasses
import gzip
import json
from typing import Any

import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_api.errors import ApiError
from chat_api.openai import strict_json
from chat_api.services import limits, prompt_lines
from chat_api.services.prompt_lines import Line, Rules

MODELS = {"storyloom": "v2", "v2": "v2", "v1": "v1", "base": "base"}
RULES = Rules(MODELS, "storyloom", 100, chat=True, context=4096)


def _read(*lines: Any, rules: Rules = RULES) -> list[Line]:
    written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return prompt_lines.parse_file("\n".join(written).encode(), rules)


def _refusal(*lines: Any) -> ApiError:
    with pytest.raises(ApiError) as refused:
        _read(*lines)
    assert refused.value.detail.cure
    return refused.value


ASKED = [{"role": "user", "content": "Tell me of the hill."}]
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain text": ("Tell me of the hill.", {"messages": ASKED}),
    "plain text that begins with a quote": (
        '"Come in," said the goose.',
        {"messages": [{"role": "user", "content": '"Come in," said the goose.'}]},
    ),
    "a JSON text": ('"Tell me of the hill."', {"messages": ASKED}),
    "a chat": ({"messages": ASKED}, {"messages": ASKED}),
    "a completion": ({"prompt": "Once upon a hill"}, {"prompt": "Once upon a hill"}),
    "OpenAI's batch line": (
        {"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": ASKED}},
        {"messages": ASKED},
    ),
    "OpenAI's batch line with a completion": (
        {"custom_id": "x", "method": "POST", "url": "/v1/completions", "body": {"prompt": "Once"}},
        {"prompt": "Once"},
    ),
}


@pytest.mark.parametrize(("line", "asks"), KINDS.values(), ids=KINDS.keys())
def test_a_line_becomes_a_request_that_the_model_accepts(line: Any, asks: dict[str, Any]) -> None:
    (read,) = _read(line)
    assert read.body == {**asks, "max_tokens": 100, "model": "v2"}


ENVELOPED = {
    "custom_id": "x",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"messages": ASKED, "seeds": 1},
    "max_tokens": 900,
    "metadata": None,
    "priority": 1,
}


def test_a_field_beside_the_body_is_named_as_one_within_it_is() -> None:
    (line,) = _read(ENVELOPED)
    assert line.ignored == ["line.max_tokens", "line.priority", "seeds"]
    assert line.body == {"messages": ASKED, "max_tokens": 100, "model": "v2"}


def test_a_field_beside_the_body_is_refused_on_demand() -> None:
    with pytest.raises(ApiError) as refused:
        _read(ENVELOPED, rules=dataclasses.replace(RULES, strict=True))
    assert "Line 1: Unknown fields: line.max_tokens, line.priority, seeds." in refused.value.detail.message


def test_a_plain_base_model_continues_plain_text() -> None:
    (line,) = _read("Once upon a hill", rules=Rules(MODELS, "base", 100, chat=False, context=4096))
    assert line.body == {"prompt": "Once upon a hill", "max_tokens": 100, "model": "base"}


def test_a_line_may_override_the_batch() -> None:
    said = {"messages": ASKED, "model": "base", "max_tokens": 7, "temperature": 1, "top_k": 3, "n": 2}
    (line,) = _read({**said, "custom_id": "mine"})
    assert line.body == said
    assert (line.custom_id, line.answer_tokens) == ("mine", 14)


def test_lines_are_counted_as_editors_do() -> None:
    lines = _read("", "one", "", "two\r")
    assert [(line.number, line.custom_id) for line in lines] == [(2, "line-2"), (4, "line-4")]
    assert lines[1].body["messages"][0]["content"] == "two"


BAD: dict[str, tuple[Any, str]] = {
    "half a JSON object": ('{"prompt": "Once', "it is not JSON"),
    "a list": ([{"prompt": "Once"}], "not a JSON object"),
    "neither messages nor prompt": ({"text": "Once"}, "messages"),
    "both": ({"messages": ASKED, "prompt": "Once"}, "has no messages"),
    "an unknown model": ({"prompt": "Once", "model": "gpt-4"}, "there is no model 'gpt-4'"),
    "a stream": ({"prompt": "Once", "stream": True}, "a stream"),
    "too long a prompt": ("x" * 20_000, "20000 characters"),
    "too long an answer": ({"prompt": "Once", "max_tokens": 5000}, "max_tokens is 5000"),
    "a temperature of fire": ({"prompt": "Once", "temperature": 9}, "temperature"),
    "another method": ({"method": "GET", "url": "/v1/completions", "body": {"prompt": "x"}}, "method"),
    "embeddings": ({"method": "POST", "url": "/v1/embeddings", "body": {"input": "x"}}, "url"),
    "a body that is none": ({"method": "POST", "url": "/v1/completions", "body": "x"}, "body"),
    "a custom_id that is a number": ({"prompt": "Once", "custom_id": 5}, "custom_id"),
    "a custom_id that is taken": ({"prompt": "Once", "custom_id": "line-1"}, "of line 1"),
}


DEEP = 20_000
POISONOUS: dict[str, tuple[str, str]] = {
    "a lone surrogate in its custom_id": (
        r'{"prompt": "x", "custom_id": "\ud800"}',
        "half of a character",
    ),
    "a lone surrogate in its prompt": (r'{"prompt": "Once \udc00 upon"}', "half of a character"),
    "a lone surrogate in a quoted text": (r'"Once \ud83d upon"', "half of a character"),
    "a lone surrogate in a key": (r'{"prompt": "Once", "\ud800": 1}', "half of a character"),
    "a control character in its custom_id": (r'{"prompt": "x", "custom_id": "a\u001b[2J"}', "custom_id"),
    "a custom_id that runs backwards": (r'{"prompt": "x", "custom_id": "a\u202eb"}', "custom_id"),
    "lists without end": ("[" * DEEP, "nested"),
    "objects without end": ('{"prompt": ' * DEEP, "nested"),
    "lists within a field": ('{"prompt": "x", "tools": ' + "[" * DEEP + "]" * DEEP + "}", "nested"),
    "nested more than a model's server reads": (
        '{"prompt": "x", "tools": ' + "[" * 80 + "]" * 80 + "}",
        "nested",
    ),
    "NaN": ('{"prompt": "Once", "logit_bias": NaN}', "NaN"),
    "infinity": ('{"prompt": "Once", "min_p": -Infinity}', "Infinity"),
    "a number that is infinite when read": ('{"prompt": "Once", "min_p": 1e999}', "too large"),
    "a whole number of 400 digits": ('{"prompt": "Once", "top_k": 1' + "0" * 400 + "}", "too large"),
    "a whole number of 5,000 digits": ('{"prompt": "Once", "top_k": 1' + "0" * 5000 + "}", "too large"),
    "a key that is there twice": ('{"prompt": "Once", "prompt": "Twice"}', "'prompt' twice"),
    "a key that is there twice further in": (
        '{"messages": [{"role": "user", "content": "a", "content": "b"}]}',
        "'content' twice",
    ),
    "a NUL in plain text": ("Once\0upon", "NUL"),
    "a NUL in a prompt": (r'{"prompt": "Once\u0000upon"}', "NUL"),
    "a carriage return in plain text": ("one prompt\ranother prompt", "carriage return"),
    "a line longer than any prompt": ('{"messages": [' + "1, " * 200_000 + "1]}", "262,144"),
}


@pytest.mark.parametrize(("line", "says"), POISONOUS.values(), ids=POISONOUS.keys())
def test_a_line_that_would_harm_the_job_or_its_results_is_refused(line: str, says: str) -> None:
    refusal = _refusal("a good one", line)
    assert (refusal.status, refusal.detail.type, refusal.detail.line) == (422, "bad_line", 2)
    assert says in refusal.detail.message
    assert len(refusal.detail.message) < 1000
    json.dumps(refusal.body, ensure_ascii=False).encode()


@pytest.mark.parametrize("line", [value[0] for value in POISONOUS.values()], ids=POISONOUS.keys())
def test_strict_parsers_refuse_the_same_lines_and_read_the_others_alike(line: str) -> None:
    """pydantic's parser, in Rust, is the judge: what it refuses, we refuse."""
    try:
        pydantic_core.from_json(line, allow_inf_nan=False)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            strict_json.loads(line)


def test_a_byte_order_mark_within_a_file_is_no_part_of_its_line() -> None:
    """Files put together with `cat` have one at the beginning of each."""
    first, second = prompt_lines.parse_file(
        '\ufeff{"prompt": "a"}\r\n\ufeff{"prompt": "b"}\r\n'.encode(), RULES
    )
    assert (first.body["prompt"], second.body["prompt"]) == ("a", "b")


def test_a_packed_file_is_named_as_one() -> None:
    with pytest.raises(ApiError, match="compressed") as refused:
        prompt_lines.parse_file(gzip.compress(b'{"prompt": "Once"}'), RULES)
    assert "Unpack" in refused.value.detail.cure


def test_utf_16_is_named_with_its_cure() -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        with pytest.raises(ApiError, match="Line 1: ") as refused:
            prompt_lines.parse_file("Once\nTwice\n".encode(encoding), RULES)
        assert "UTF-8" in refused.value.detail.cure


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "role"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(_JSON.map(json.dumps), st.sampled_from(["", "1e999", r"\ud800", "NaN", "[", "\0"]), st.integers(0, 80))
def test_what_is_taken_is_read_the_same_by_other_parsers(value: str, fault: str, at: int) -> None:
    text = value[:at] + fault + value[at:]
    try:
        taken = strict_json.loads(text)
    except ValueError:
        return
    assert pydantic_core.from_json(text, allow_inf_nan=False) == taken
    written = json.dumps(taken, ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(written) == taken


@pytest.mark.parametrize(("line", "says"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_named(line: Any, says: str) -> None:
    refusal = _refusal("a good one", "", line)
    assert (refusal.status, refusal.detail.type, refusal.detail.line) == (422, "bad_line", 3)
    assert refusal.detail.message.startswith("Line 3: ")
    assert says in refusal.detail.message


def test_a_refusal_does_not_repeat_what_was_written() -> None:
    secret = "the butler did it"
    refusal = _refusal({"messages": [{"role": "murderer", "content": secret}]})
    assert secret not in json.dumps(refusal.body)


def test_a_file_has_prompts_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _refusal("", "  ").detail.type == "empty_batch"
    monkeypatch.setattr(limits, "MAX_BATCH_LINES", 2)
    assert len(_read("one", "two", "")) == 2
    assert _refusal("one", "two", "three").status == 413


def test_another_encoding_is_named_with_its_line() -> None:
    with pytest.raises(ApiError, match="Line 2: it is not UTF-8"):
        prompt_lines.parse_file("good\ncafé".encode("latin-1"), RULES)
    assert prompt_lines.parse_file("\ufeffgood".encode(), RULES)[0].body["messages"][0]["content"] == "good"


@given(
    st.text(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["prompt", "messages", "body", "url", "method", "model", "n", "custom_id", "role"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(json.dumps)
)
def test_whatever_a_line_is_it_is_read_or_refused(text: str) -> None:
    try:
        lines = prompt_lines.parse_file(text.encode(errors="replace"), RULES)
    except ApiError as error:
        assert error.status in {413, 422}
    else:
        assert all(
            "\n" not in json.dumps(line.body) and line.body["model"] in MODELS.values() for line in lines
        )
