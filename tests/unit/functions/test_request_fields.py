"""No unchecked field reaches the model, on any of its three routes."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient

from chat_api.app import app
from chat_api.errors import ApiError
from chat_api.openai import request_fields
from chat_api.openai.requests import ChatRequest, CompletionRequest
from chat_api.services import prompt_lines
from chat_api.services.prompt_lines import Rules
from tests.unit.functions.api_server import running
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

CHAT, COMPLETE = "/api/v1/chat/completions", "/api/v1/completions"
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
PROMPT = {"prompt": "Once upon a hill"}
STRICT = {"X-Storyloom-Strict": "true"}
UNKNOWN: dict[str, Any] = {
    "add_generation_prompt": False,
    "cache_salt": "x",
    "chat_template": "{{ 'x' * 10**9 }}",
    "chat_template_kwargs": {"enable_thinking": True},
    "continue_final_message": True,
    "documents": [{"title": "x", "text": "x" * 100_000}],
    "guided_json": {"type": "object"},
    "guided_regex": "(a+)+$",
    "kv_transfer_params": {"do_remote_prefill": True},
    "lora_request": {"lora_path": "/"},
    "mm_processor_kwargs": {"x": 1},
    "priority": -1,
    "prompt_embeds": "AAAA",
    "prompt_logprobs": 5,
    "reasoning_effort": "high",
    "request_id": "mine",
    "structured_outputs": {"regex": "(a+)+$"},
    "truncate_prompt_tokens": 1,
    "use_beam_search": True,
    "vllm_xargs": {"x": 1},
}
"""Of vLLM's own, and of versions before it."""
UNSUPPORTED: dict[str, Any] = {
    "tools": [{"type": "function", "function": {"name": "f", "description": "x" * 500_000}}],
    "tool_choice": "auto",
    "functions": [{"name": "f"}],
    "audio": {"voice": "alloy", "format": "wav"},
    "echo": True,
    "suffix": "The end.",
    "best_of": 3,
}
HONOURED: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.1,
    "n": 2,
    "seed": 7,
    "stop": ["The end"],
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "repetition_penalty": 1.2,
    "logit_bias": {"50256": -100},
    "ignore_eos": True,
    "max_tokens": 5,
}


@pytest.fixture
def api(resources: DeployedResources, awake_v1: StandIn) -> Iterator[TestClient]:
    """The app, for a person who has signed in, with a model that ends its answer at once."""
    awake_v1.stream = [b"data: [DONE]\n\n"]
    with TestClient(app, headers=caller_headers(), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("route", [CHAT, COMPLETE])
def test_an_unknown_field_is_dropped_and_named(awake_v1: StandIn, api: TestClient, route: str) -> None:
    known = HELLO if route == CHAT else PROMPT
    answer = api.post(route, json={**known, **UNKNOWN, **HONOURED})
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Storyloom-Ignored-Fields"] == ", ".join(sorted(UNKNOWN))
    (asked,) = awake_v1.asked
    assert asked == {
        **known,
        **HONOURED,
        "model": "v1",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("route", [CHAT, COMPLETE])
def test_an_unknown_field_is_refused_on_demand(awake_v1: StandIn, api: TestClient, route: str) -> None:
    known = HELLO if route == CHAT else PROMPT
    for name, value in UNKNOWN.items():
        refused = api.post(route, json={**known, name: value}, headers=STRICT)
        assert refused.status_code == 422, name
        assert refused.json()["error"]["type"] == "unknown_field"
        assert name in refused.json()["error"]["message"]
    assert awake_v1.asked == []


@pytest.mark.parametrize("route", [CHAT, COMPLETE])
def test_what_the_model_cannot_do_is_refused(awake_v1: StandIn, api: TestClient, route: str) -> None:
    """Without it the answer would be another one than was asked for."""
    known = HELLO if route == CHAT else PROMPT
    for name, value in UNSUPPORTED.items():
        refused = api.post(route, json={**known, name: value})
        assert refused.status_code == 422, name
        assert refused.json()["error"]["type"] == "unsupported_field"
        assert refused.json()["error"]["message"].startswith(f"{name}: ")
        assert len(refused.content) < 500, "what was sent is not repeated"
    assert awake_v1.asked == []


def test_only_plain_text_can_be_the_format(awake_v1: StandIn, api: TestClient) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert api.post(CHAT, json={**HELLO, "response_format": schema}).status_code == 422
    assert api.post(CHAT, json={**HELLO, "response_format": {"type": "text"}}).status_code == 200
    assert "response_format" not in awake_v1.asked[0]


def test_fields_without_effect_are_accepted(awake_v1: StandIn, api: TestClient) -> None:
    """Clients send back what they received, with its empty fields."""
    nothing = {"tools": [], "tool_choice": "none", "echo": False, "chat_template": None, "audio": None}
    said = {"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": None}
    body = {**HELLO, **nothing, "messages": [*HELLO["messages"], said, *HELLO["messages"]], "user": "u-1"}
    answer = api.post(CHAT, json=body, headers=STRICT)
    assert answer.status_code == 200, answer.text
    assert "X-Storyloom-Ignored-Fields" not in answer.headers
    assert awake_v1.asked[0]["messages"][1] == {"role": "assistant", "content": "Hi"}
    assert not {"user", *nothing} & awake_v1.asked[0].keys()


def test_fields_within_are_named_too(awake_v1: StandIn, api: TestClient) -> None:
    part = {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}
    message = {"role": "user", "content": [part], "name": "x" * 50_000, "reasoning_content": "x" * 50_000}
    body = {"messages": [message, message], "stream_options": {"continuous_usage_stats": True}}
    answer = api.post(CHAT, json={**body, "stream": True})
    assert answer.headers["X-Storyloom-Ignored-Fields"] == (
        "messages.content.cache_control, messages.name, messages.reasoning_content, "
        "stream_options.continuous_usage_stats"
    )
    plain = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
    assert awake_v1.asked[0]["messages"] == [plain, plain]
    assert awake_v1.asked[0]["stream_options"] == {"include_usage": True}


def test_a_name_cannot_write_a_header_of_its_own(awake_v1: StandIn, api: TestClient) -> None:
    names = {f"x{number}": 1 for number in range(30)}
    body = {**HELLO, "\r\nSet-Cookie: a=b": 1, "é" * 200: 1, **names}
    answer = api.post(CHAT, json=body)
    assert answer.status_code == 200
    told = answer.headers["X-Storyloom-Ignored-Fields"]
    assert told.startswith("??Set-Cookie??a?b, x0, ")
    assert told.endswith("and 12 more")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (ChatRequest, "temperature", 2.1),
        (ChatRequest, "temperature", float("nan")),
        (ChatRequest, "temperature", True),
        (ChatRequest, "top_p", 0),
        (ChatRequest, "top_p", float("inf")),
        (ChatRequest, "top_k", -2),
        (ChatRequest, "top_k", 10**30),
        (ChatRequest, "min_p", 1.1),
        (ChatRequest, "n", 5),
        (ChatRequest, "seed", 2**53),
        (ChatRequest, "seed", 1.5),
        (ChatRequest, "stop", ""),
        (ChatRequest, "stop", ["x"] * 5),
        (ChatRequest, "stop", "x" * 101),
        (ChatRequest, "frequency_penalty", -2.1),
        (ChatRequest, "presence_penalty", 2.1),
        (ChatRequest, "repetition_penalty", 5e-324),
        (ChatRequest, "logit_bias", {"x": 1}),
        (ChatRequest, "logit_bias", {"5": 101}),
        (ChatRequest, "logit_bias", {"05": 1}),
        (ChatRequest, "logit_bias", {str(token): 1 for token in range(301)}),
        (ChatRequest, "logprobs", 1),
        (ChatRequest, "top_logprobs", 21),
        (CompletionRequest, "logprobs", 21),
        (CompletionRequest, "logprobs", True),
        (ChatRequest, "max_tokens", 0),
        (ChatRequest, "user", "x" * 513),
        (ChatRequest, "ignore_eos", "yes"),
    ],
)
def test_every_field_has_bounds(kind: type[ChatRequest | CompletionRequest], name: str, value: Any) -> None:
    known = HELLO if kind is ChatRequest else PROMPT
    with pytest.raises(ValueError, match=name):
        kind.model_validate({**known, name: value})


@pytest.mark.parametrize("body", [{"n": 2, "temperature": 0}, {"top_logprobs": 2}])
def test_fields_that_exclude_each_other_are_refused(
    awake_v1: StandIn, api: TestClient, body: dict[str, Any]
) -> None:
    refused = api.post(CHAT, json={**HELLO, **body})
    assert (refused.status_code, refused.json()["error"]["type"]) == (422, "conflicting_fields")
    assert awake_v1.asked == []


def test_only_the_limit_that_applies_is_sent(awake_v1: StandIn, api: TestClient) -> None:
    body = {**HELLO, "max_tokens": 10**30, "max_completion_tokens": 5}
    assert api.post(CHAT, json=body).status_code == 200
    assert awake_v1.asked[0]["max_completion_tokens"] == 5
    assert "max_tokens" not in awake_v1.asked[0]


def test_the_openai_client_reads_logprobs_of_an_answer_in_one_piece(awake_v1: StandIn) -> None:
    """The API always streams from the model; what the pieces tell is put together."""

    def piece(text: str) -> bytes:
        told = {"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []}
        choice = {"index": 0, "delta": {"content": text}, "logprobs": {"content": [told]}}
        chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "v1"}
        return f"data: {json.dumps({**chunk, 'choices': [{**choice, 'finish_reason': None}]})}\n\n".encode()

    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    awake_v1.stream = [
        piece("Once"),
        piece(" more"),
        f"data: {json.dumps({'id': 'c1', 'choices': [end]})}\n\n".encode(),
        b"data: [DONE]\n\n",
    ]
    with running() as url:
        client = openai.OpenAI(
            base_url=f"{url}/api/v1", api_key="token", default_headers=caller_headers(), max_retries=0
        )
        answer = client.chat.completions.create(
            model="storyloom", messages=[{"role": "user", "content": "Hello"}], logprobs=True, top_logprobs=1
        )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert [(one.token, one.logprob) for one in logprobs.content] == [("Once", -0.5), (" more", -0.5)]
    assert answer.choices[0].message.content == "Once more"


RULES = Rules({"storyloom": "v2", "base": "base"}, "storyloom", 100, chat=True, context=4096)


def test_a_line_of_a_batch_keeps_the_same_fields() -> None:
    lines = [{**HELLO, **UNKNOWN, **HONOURED}, {"url": "/v1/completions", "method": "POST", "body": PROMPT}]
    written = "\n".join(map(json.dumps, lines)).encode()
    first, second = prompt_lines.parse_file(written, RULES)
    assert first.body == {**HELLO, **HONOURED, "model": "v2"}
    assert first.ignored == sorted(UNKNOWN)
    assert second.ignored == []
    strict = Rules(RULES.models, "storyloom", 100, chat=True, context=4096, strict=True)
    with pytest.raises(ApiError, match="Line 1: Unknown fields: add_generation_prompt, cache_salt"):
        prompt_lines.parse_file(written, strict)
    tools = json.dumps({**HELLO, "tools": [{"type": "function"}]}).encode()
    with pytest.raises(ApiError, match="Line 1: tools: the model calls no tools"):
        prompt_lines.parse_file(tools, RULES)


def test_names_are_written_for_a_header() -> None:
    assert request_fields.format_names(["a", "b\n"]) == "a, b?"
