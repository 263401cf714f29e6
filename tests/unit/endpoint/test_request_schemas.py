"""Whatever the API lets through, both engines take: the small server, and vLLM by its own classes.

What vLLM's classes say is kept in a file beside this, which `tests/vllm/request_schemas.py` writes.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_api.errors import ApiError
from chat_api.openai import request_fields
from chat_api.openai.requests import AnswerRequest, ChatRequest, CompletionRequest
from local.endpoint_server import schema as small

VLLM: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vllm_request_schemas.json").read_text(encoding="utf-8")
)
KINDS: dict[str, tuple[type[AnswerRequest], type[small.EngineRequest]]] = {
    "chat": (ChatRequest, small.EngineChatRequest),
    "completion": (CompletionRequest, small.EngineCompletionRequest),
}
OURS_ONLY = {"response_format", "user"}
"""Fields that the API takes and sends to neither engine."""


TEXT: st.SearchStrategy[Any] = st.text(max_size=20)
STOP = st.text(min_size=1, max_size=100)
PARTS: st.SearchStrategy[Any] = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}), max_size=3
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": TEXT | PARTS}
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.just("v1"),
    "stream": st.booleans(),
    "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()}),
    "max_tokens": st.integers(1, 10**6) | st.just(16.0),
    "max_completion_tokens": st.integers(1, 10**6),
    "temperature": st.floats(0, 2) | st.integers(0, 2),
    "top_p": st.floats(0, 1, exclude_min=True) | st.just(1),
    "top_k": st.integers(-1, 10**6) | st.just(40.0),
    "min_p": st.floats(0, 1),
    "n": st.integers(1, 4) | st.just(2.0),
    "seed": st.integers(-(2**53) + 1, 2**53 - 1),
    "stop": STOP | st.lists(STOP, max_size=4),
    "frequency_penalty": st.floats(-2, 2),
    "presence_penalty": st.floats(-2, 2),
    "repetition_penalty": st.floats(0.01, 2),
    "logit_bias": st.dictionaries(st.integers(0, 9_999_999).map(str), st.floats(-100, 100), max_size=5),
    "ignore_eos": st.booleans(),
    "top_logprobs": st.integers(0, 20),
    "response_format": st.just({"type": "text"}),
    "user": TEXT,
}
"""Everything that the API allows, and now and then null."""


def _bodies(kind: type[AnswerRequest]) -> st.SearchStrategy[dict[str, Any]]:
    """Return bodies that the API may be sent, with any of its fields."""
    own = {name: one for name, one in FIELDS.items() if name in kind.model_fields}
    needed: dict[str, st.SearchStrategy[Any]]
    if kind is ChatRequest:
        own["logprobs"] = st.booleans()
        needed = {"messages": st.lists(MESSAGE, min_size=1, max_size=3)}
    else:
        own["logprobs"] = st.integers(0, 20)
        prompts = st.text(min_size=1, max_size=20)
        needed = {"prompt": prompts | st.lists(prompts, min_size=1, max_size=1)}
    assert {*own, *needed} == kind.model_fields.keys()
    optional = {
        name: one | st.none() if name not in {"model", "stream"} else one for name, one in own.items()
    }
    return st.fixed_dictionaries(needed, optional=optional)


def _sent(kind: type[AnswerRequest], body: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the API would send; None if it refuses the request."""
    try:
        request = kind.model_validate(body)
        request_fields.remove_unknown_fields(request, strict=False)
    except (ValueError, ApiError):
        return None
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    return {**request.engine_fields(), "model": "v1", **stream}


@pytest.mark.parametrize("name", KINDS)
def test_each_field_is_known_to_both_engines(name: str) -> None:
    ours, theirs = KINDS[name]
    fields = ours.model_fields.keys() - OURS_ONLY
    assert fields <= set(VLLM[name]["every_field"])
    assert fields == theirs.model_fields.keys(), "the small server takes these and no others"
    assert fields == VLLM[name]["schema"]["properties"].keys(), "write the file again"


@pytest.mark.parametrize("name", KINDS)
def test_no_other_field_of_vllm_is_sent(name: str) -> None:
    """Each of them, with a value that nothing refuses for its type."""
    ours, _ = KINDS[name]
    known = {"messages": [{"role": "user", "content": "Hi"}]} if name == "chat" else {"prompt": "Hi"}
    values: list[Any] = ["x", 1, True, [], {"a": 1}]
    others = set(VLLM[name]["every_field"]) - ours.model_fields.keys()
    assert {"chat_template", "prompt_logprobs", "priority", "kv_transfer_params"} & others
    for field in others:
        for value in values:
            sent = _sent(ours, {**known, field: value})
            assert sent is None or field not in sent, (field, value)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_sent_both_engines_take(name: str, data: st.DataObject) -> None:
    ours, theirs = KINDS[name]
    body = data.draw(_bodies(ours))
    sent = _sent(ours, body)
    if sent is None:
        return
    written = json.dumps(sent)
    theirs.model_validate_json(written)
    jsonschema_rs.validate(VLLM[name]["schema"], json.loads(written))
