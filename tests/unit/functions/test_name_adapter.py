"""What the bundle brings into vLLM's container: a request's `model` is the header that vLLM goes by."""

import asyncio
import json
from typing import Any

import pytest

from deploy import name_adapter
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


class _Streaming:
    """Writes words until its client disconnects, which it is told in one of ASGI's two ways."""

    def __init__(self, *, listens: bool) -> None:
        self.listens, self.words, self.ended = listens, 0, False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        gone = asyncio.create_task(self._wait_for_disconnect(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while not (self.listens and gone.done()):
                await send({"type": "http.response.body", "body": b"hill ", "more_body": True})
                self.words += 1
                await asyncio.sleep(0.01)
        finally:
            self.ended = True
            gone.cancel()

    @staticmethod
    async def _wait_for_disconnect(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


@pytest.mark.parametrize("listens", [True, False])
def test_an_answer_ends_when_another_request_cancels_it(
    monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    monkeypatch.setattr(name_adapter, "HOLD_SECONDS", 0.0)
    server = _Streaming(listens=listens)
    adapter = NameAdapter(server)
    sent: list[Message] = []

    async def ask(attributes: bytes, heard: list[Message]) -> None:
        waiting = [{"type": "http.request", "body": b'{"model":"v2"}'}]

        async def receive() -> Message:
            return waiting.pop() if waiting else await asyncio.Future()

        async def send(message: Message) -> None:
            heard.append(message)

        headers = [(b"x-amzn-sagemaker-custom-attributes", attributes)]
        await adapter({"type": "http", "path": "/invocations", "headers": headers}, receive, send)

    async def cancel(answer_id: bytes) -> dict[str, bool]:
        heard: list[Message] = []
        await ask(b"storyloom-cancel=" + answer_id, heard)
        assert heard[0]["status"] == 200
        said: dict[str, bool] = json.loads(heard[1]["body"])
        return said

    async def story() -> None:
        writing = asyncio.create_task(ask(b"storyloom-answer=a1", sent))
        while not server.words:
            await asyncio.sleep(0.01)
        assert await cancel(b"another") == {"cancelled": False}
        assert not server.ended
        assert await cancel(b"a1") == {"cancelled": True}
        await asyncio.wait_for(writing, 5)
        assert await cancel(b"a1") == {"cancelled": False}, "it has ended"

    outcome(story())
    assert server.ended
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}, "in good order"
