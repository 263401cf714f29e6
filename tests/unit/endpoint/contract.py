"""What every engine behind an endpoint does: asked of our small server, and of real vLLM by tests/vllm."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from chat_api.events import DONE, EventReader

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


def fields_of_other_engines_pass(engine: Engine) -> None:
    assert engine.ask(chat(max_tokens=2, top_k=5, repetition_penalty=1.1, logprobs=False)).status == 200


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
    fields_of_other_engines_pass,
]
