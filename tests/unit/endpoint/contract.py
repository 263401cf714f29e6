"""What every engine behind an endpoint does: asked of our small server, and of real vLLM by tests/vllm."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from chat_api.openai.events import DONE, EventReader

MODELS = ("base", "v1", "v2")


@dataclass(frozen=True)
class Reply:
    """What an engine answered; a body that is no JSON would fail the test."""

    status: int
    body: dict[str, Any]

    @property
    def choice(self) -> dict[str, Any]:
        assert self.status == 200, self.body
        (choice,) = self.body["choices"]
        return dict(choice)

    @property
    def text(self) -> str:
        return str(self.choice["message"]["content"])


class Engine(Protocol):
    """Two ways to ask: for the whole answer, and for its bytes as they come, up to the last one."""

    def ask(self, body: bytes) -> Reply: ...

    def stream(self, body: bytes) -> list[bytes]: ...


def chat(model: str = "v2", text: str = "Tell me a story about the sea.", **values: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **values}
    return json.dumps(body).encode()


def chunks(engine: Engine, body: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream as the API reads them; it must end with `[DONE]`."""
    reader = EventReader()
    data = [event for part in engine.stream(body) for event in reader.feed(part)]
    assert data[-1] == DONE and not list(reader.close())
    return [json.loads(event) for event in data[:-1]]


def each_model_answers_by_its_name(engine: Engine) -> None:
    for model in MODELS:
        reply = engine.ask(chat(model, max_tokens=3))
        assert reply.choice["finish_reason"] == "length"
        assert (reply.body["model"], reply.body["object"]) == (model, "chat.completion")
        usage = reply.body["usage"]
        assert usage["completion_tokens"] == 3
        assert usage["total_tokens"] == usage["prompt_tokens"] + 3


def each_model_answers_differently(engine: Engine) -> None:
    assert len({engine.ask(chat(model, max_tokens=40)).text for model in MODELS}) == 3


def an_unknown_model_is_not_found(engine: Engine) -> None:
    for stream in (False, True):
        for model in ("v9", "base/../v1"):
            reply = engine.ask(chat(model, max_tokens=3, stream=stream))
            assert reply.status == 404, reply.body
            assert reply.body["error"]["message"]


def a_prompt_that_is_too_long_is_refused(engine: Engine) -> None:
    reply = engine.ask(chat(text="tale " * 6000))
    assert reply.status == 400
    assert "context length" in reply.body["error"]["message"], "the API tells it by these words"


def a_wrong_request_is_refused(engine: Engine) -> None:
    wrong = [chat(temperature=9), chat(top_p=0), chat(max_tokens=0), chat(messages=[]), chat(messages=5)]
    wrong += [b"{", b'{"model":"v1"}', b'{"model":"v1","prompt":""}']
    for body in wrong:
        reply = engine.ask(body)
        assert reply.status == 400, (body, reply)
        assert reply.body["error"]["message"]


def a_stream_is_the_same_answer_in_pieces(engine: Engine) -> None:
    whole = engine.ask(chat(max_tokens=30))
    events = chunks(engine, chat(max_tokens=30, stream=True, stream_options={"include_usage": True}))
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    pieces = [choice["delta"].get("content", "") for event in events for choice in event["choices"]]
    assert "".join(pieces) == whole.text and len(pieces) > 10
    reasons = [choice["finish_reason"] for event in events for choice in event["choices"]]
    assert reasons[-1] == "length" and set(reasons[:-1]) == {None}
    last = events[-1]
    assert last["choices"] == []
    for count in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert last["usage"][count] == whole.body["usage"][count]
    assert {event["model"] for event in events} == {"v2"}


def usage_comes_only_where_it_was_asked_for(engine: Engine) -> None:
    events = chunks(engine, chat(max_tokens=3, stream=True))
    assert all(not event.get("usage") and event["choices"] for event in events)


def an_answer_ends_before_a_stop_string(engine: Engine) -> None:
    whole = engine.ask(chat(max_tokens=40)).text
    stop = whole[20:23]
    stopped = engine.ask(chat(max_tokens=40, stop=["never said", stop])).choice
    assert stopped["message"]["content"] == whole[: whole.index(stop)]
    assert stopped["finish_reason"] == "stop"


def a_seed_repeats_an_answer(engine: Engine) -> None:
    first, again, other = (
        engine.ask(chat(temperature=1.0, max_tokens=30, seed=seed)).text for seed in (7, 7, 8)
    )
    assert first == again != other


def a_prompt_is_gone_on_with(engine: Engine) -> None:
    for prompt in ("Once upon a hill", ["Once upon a hill"]):
        body = {"model": "base", "prompt": prompt, "temperature": 0}
        reply = engine.ask(json.dumps(body).encode())
        assert reply.choice["text"]
        assert reply.body["object"] == "text_completion"
        assert reply.body["usage"]["completion_tokens"] <= 16, "OpenAI's default"


ALLOWED: dict[str, tuple[Any, ...]] = {
    "temperature": (0, 0.001, 2),
    "top_p": (0.001, 1),
    "top_k": (-1, 0, 1, 1_000_000),
    "min_p": (0, 1),
    "n": (1,),
    "seed": (-(2**53) + 1, -1, 0, 2**53 - 1),
    "stop": ("x" * 100, ["a", "b", "c", "d"], []),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "repetition_penalty": (0.01, 2),
    "logit_bias": ({}, {"0": -100, "5": 100}),
    "ignore_eos": (False, True),
    "logprobs": (False, True),
    "max_completion_tokens": (1,),
}
"""Values at the bounds that the API allows; what needs another field beside it has a check of its own."""


def each_allowed_value_is_taken(engine: Engine) -> None:
    for name, values in ALLOWED.items():
        for value in values:
            asked: dict[str, Any] = {"max_tokens": 2, "temperature": 0.5, name: value}
            reply = engine.ask(chat(**asked))
            assert reply.status == 200, (name, value, reply.body)


def several_answers_are_told_apart(engine: Engine) -> None:
    asked: dict[str, Any] = {"n": 3, "temperature": 1.0, "seed": 3, "max_tokens": 20}
    whole = engine.ask(chat(**asked)).body
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    told = [choice["message"]["content"] for choice in whole["choices"]]
    assert len(set(told)) == 3, "each has a seed of its own"
    assert told[1] == engine.ask(chat(**{**asked, "n": 1, "seed": 4})).text, "the next one"
    assert whole["usage"]["completion_tokens"] == 60
    events = chunks(engine, chat(**asked, stream=True))
    pieces = [choice for event in events for choice in event["choices"]]
    for index in range(3):
        mine = [piece["delta"].get("content") or "" for piece in pieces if piece["index"] == index]
        assert "".join(mine) == told[index]
    assert engine.ask(chat(n=2, temperature=0)).status == 400, "they would all be the same"


def top_k_and_min_p_leave_the_likeliest(engine: Engine) -> None:
    likeliest = engine.ask(chat(max_tokens=20)).text
    assert engine.ask(chat(max_tokens=20, temperature=2, top_k=1)).text == likeliest
    assert engine.ask(chat(max_tokens=20, temperature=2, min_p=1)).text == likeliest
    assert engine.ask(chat(max_tokens=20, temperature=2, seed=1)).text != likeliest


def penalties_change_an_answer(engine: Engine) -> None:
    without = engine.ask(chat(max_tokens=60, repetition_penalty=1)).text
    penalties: list[dict[str, Any]] = [
        {"repetition_penalty": 1.9},
        {"repetition_penalty": 1, "frequency_penalty": 2},
        {"repetition_penalty": 1, "presence_penalty": 2},
    ]
    for penalty in penalties:
        assert engine.ask(chat(max_tokens=60, **penalty)).text != without, penalty


def a_bias_decides(engine: Engine) -> None:
    told = engine.ask(chat(max_tokens=3, logprobs=True)).choice["logprobs"]["content"]
    assert len(told) == 3
    always = engine.ask(chat(max_tokens=3, logit_bias={"7": 100}, repetition_penalty=1, logprobs=True)).choice
    tokens = {one["token"] for one in always["logprobs"]["content"]}
    assert len(tokens) == 1, "the same token every time"
    outside = engine.ask(chat(max_tokens=3, logit_bias={"9999999": 1}))
    assert outside.status == 400 and "vocab" in json.dumps(outside.body).lower()


def logprobs_are_of_the_tokens_that_came(engine: Engine) -> None:
    asked: dict[str, Any] = {"max_tokens": 8, "logprobs": True, "top_logprobs": 2, "repetition_penalty": 1}
    choice = engine.ask(chat(**asked)).choice
    content = choice["logprobs"]["content"]
    assert "".join(one["token"] for one in content).startswith(choice["message"]["content"])
    assert len(content) == 8
    for one in content:
        first, second = one["top_logprobs"]
        assert (first["token"], first["logprob"]) == (one["token"], one["logprob"]), "the likeliest is taken"
        assert second["logprob"] <= first["logprob"] <= 0
        assert first["bytes"] == list(first["token"].encode())
    events = chunks(engine, chat(**asked, stream=True))
    streamed = [
        one
        for event in events
        for piece in event["choices"]
        for one in (piece.get("logprobs") or {}).get("content") or []
    ]
    assert [one["token"] for one in streamed] == [one["token"] for one in content]
    assert engine.ask(chat(top_logprobs=2)).status == 400, "it needs logprobs"
    assert engine.ask(chat(logprobs=True, top_logprobs=21)).status == 400


def a_completion_tells_logprobs_in_its_own_form(engine: Engine) -> None:
    body = {"model": "v2", "prompt": "The hill", "temperature": 0, "max_tokens": 6, "logprobs": 2}
    choice = engine.ask(json.dumps(body).encode()).choice
    told = choice["logprobs"]
    assert "".join(told["tokens"]).startswith(choice["text"])
    assert [len(values) for values in told.values()] == [6, 6, 6, 6]
    assert set(told) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
    assert told["text_offset"][:2] == [0, len(told["tokens"][0])]
    for token, logprob, likeliest in zip(
        told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True
    ):
        assert 1 <= len(likeliest) <= 3, "several tokens may have the same text"
        assert likeliest[token] == logprob


CHECKS: list[Callable[[Engine], None]] = [
    each_model_answers_by_its_name,
    each_model_answers_differently,
    an_unknown_model_is_not_found,
    a_prompt_that_is_too_long_is_refused,
    a_wrong_request_is_refused,
    a_stream_is_the_same_answer_in_pieces,
    usage_comes_only_where_it_was_asked_for,
    an_answer_ends_before_a_stop_string,
    a_seed_repeats_an_answer,
    a_prompt_is_gone_on_with,
    each_allowed_value_is_taken,
    several_answers_are_told_apart,
    top_k_and_min_p_leave_the_likeliest,
    penalties_change_an_answer,
    a_bias_decides,
    logprobs_are_of_the_tokens_that_came,
    a_completion_tells_logprobs_in_its_own_form,
]
