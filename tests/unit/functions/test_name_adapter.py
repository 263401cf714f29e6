"""What the bundle brings into vLLM's container: a request's `model` is the header that vLLM goes by."""

import json
from typing import Any

import pytest

from deploy.name_adapter import Message, NameAdapter, Receive, Send
from tests.unit.coroutines import outcome

HEADER = b"x-amzn-sagemaker-adapter-identifier"


def passed_on(
    pieces: list[bytes], path: str = "/invocations", headers: list[tuple[bytes, bytes]] | None = None
) -> tuple[dict[bytes, bytes], list[Message]]:
    """The headers, and all messages up to the disconnect, that the server behind gets."""
    seen: dict[str, Any] = {"messages": []}
    waiting = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1}
        for number, piece in enumerate(pieces)
    ] + [{"type": "http.disconnect"}]

    async def server(scope: Message, receive: Receive, send: Send) -> None:
        seen["headers"] = scope["headers"]
        while not seen["messages"] or seen["messages"][-1]["type"] != "http.disconnect":
            seen["messages"].append(await receive())

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(_: Message) -> None:
        raise AssertionError("the server answers, not this")

    scope = {"type": "http", "path": path, "headers": headers or []}
    outcome(NameAdapter(server)(scope, receive, send))
    assert len(dict(seen["headers"])) == len(seen["headers"]), "no header twice"
    return dict(seen["headers"]), seen["messages"]


def test_the_model_of_the_body_is_the_adapter_and_the_body_stays() -> None:
    body = json.dumps({"model": "v2", "messages": []}).encode()
    headers, messages = passed_on([body[:5], body[5:9], body[9:]], headers=[(b"accept", b"x")])
    assert headers == {b"accept": b"x", HEADER: b"v2"}
    assert b"".join(message.get("body", b"") for message in messages) == body
    assert messages[-1] == {"type": "http.disconnect"}, "a caller that leaves is still noticed"


def test_nobody_chooses_by_the_header() -> None:
    sent = [(b"X-Amzn-SageMaker-Adapter-Identifier", b"v1")]
    assert passed_on([b'{"model":"v9"}'], headers=sent)[0] == {HEADER: b"v9"}
    assert passed_on([b'{"messages":[]}'], headers=sent)[0] == {}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"v2"', b"\xff", b'{"model":null}'])
def test_a_body_without_a_model_goes_on_as_it_is(body: bytes) -> None:
    headers, messages = passed_on([body])
    assert headers == {}
    assert messages[0]["body"] == body


def test_a_name_that_is_none_stays_one_that_is_none() -> None:
    assert passed_on([b'{"model":5}'])[0] == {HEADER: b"5"}
    assert passed_on(['{"model":"vé\\n"}'.encode()])[0] == {HEADER: "vé\n".encode()}


def test_other_routes_are_left_alone() -> None:
    assert passed_on([b'{"model":"v2"}'], path="/v1/chat/completions")[0] == {}
