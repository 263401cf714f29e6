"""ASGI middleware of the bundle for vLLM's container: choosing an adapter, and cancelling an answer.

The `model` of a request chooses the adapter. vLLM's `/invocations` takes the adapter's name from a header
that SageMaker sets for inference components only, and overwrites the body's `model` with it. Without the
header the base model silently answers every request, even one for a version that does not exist. This
middleware copies the body's `model` to that header.

Another request can cancel an answer. SageMaker does not document whether the container is informed of a
client that disconnects. So an answer with a name (`CustomAttributes`: `storyloom-answer=ID`) ends when a
request names it (`storyloom-cancel=ID`): to vLLM its client has then disconnected.

Only the standard library may be imported here, because the container's packages are not known.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_HEADER = b"x-amzn-sagemaker-adapter-identifier"
_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
_ANSWER, _CANCEL = "storyloom-answer=", "storyloom-cancel="
HOLD_SECONDS = 0.5
"""How long a cancel without an answer stays open, so that the endpoint routes the next one elsewhere."""


class NameAdapter:
    """ASGI middleware around vLLM's server."""

    def __init__(self, app: App) -> None:
        """Wrap the server."""
        self._app = app
        self._cancels: dict[str, asyncio.Event] = {}
        """An event for each named answer that is being written."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Forward a request, with the header if it is to `/invocations`, or cancel an answer."""
        if scope["type"] != "http" or scope["path"] != "/invocations":
            await self._app(scope, receive, send)
            return
        attributes = dict(scope["headers"]).get(_ATTRIBUTES, b"").decode("latin-1")
        if attributes.startswith(_CANCEL):
            await _reply(send, {"cancelled": await self._cancel(attributes.removeprefix(_CANCEL))})
            return
        read = [await receive()]
        while read[-1].get("more_body"):
            read.append(await receive())
        name = _model(b"".join(message.get("body", b"") for message in read))
        others = [(header, value) for header, value in scope["headers"] if header.lower() != _HEADER]
        named = [] if name is None else [(_HEADER, name.encode())]
        waiting = iter(read)

        async def replay() -> Message:
            for message in waiting:
                return message
            return await receive()

        asked = {**scope, "headers": [*others, *named]}
        if attributes.startswith(_ANSWER):
            await self._answer(attributes.removeprefix(_ANSWER), asked, replay, send)
        else:
            await self._app(asked, replay, send)

    async def _cancel(self, answer_id: str) -> bool:
        """End an answer, even one that begins a moment later; returns False if it is not written here."""
        if answer_id not in self._cancels:
            await asyncio.sleep(HOLD_SECONDS)
        cancelled = self._cancels.get(answer_id)
        if cancelled is not None:
            cancelled.set()
        return cancelled is not None

    async def _answer(self, answer_id: str, scope: Message, receive: Receive, send: Send) -> None:
        cancelled = self._cancels[answer_id] = asyncio.Event()
        last: Message = {}

        async def receive_or_disconnect() -> Message:
            message = asyncio.ensure_future(receive())
            ending = asyncio.ensure_future(cancelled.wait())
            try:
                await asyncio.wait({message, ending}, return_when=asyncio.FIRST_COMPLETED)
                return message.result() if message.done() else {"type": "http.disconnect"}
            finally:
                message.cancel()
                ending.cancel()

        async def send_until_disconnect(message: Message) -> None:
            nonlocal last
            if cancelled.is_set():
                # Servers raise this after a disconnect, for frameworks that no longer receive.
                raise OSError("The answer was cancelled.")
            last = message
            await send(message)

        try:
            await self._app(scope, receive_or_disconnect, send_until_disconnect)
        except Exception:
            # Frameworks raise errors of their own for a client that has disconnected.
            if not cancelled.is_set():
                raise
        finally:
            self._cancels.pop(answer_id, None)
        if cancelled.is_set() and (last.get("more_body") or last.get("type") == "http.response.start"):
            # To SageMaker the answer has ended, and the container has not failed.
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _reply(send: Send, content: dict[str, bool]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


def _model(body: bytes) -> str | None:
    """Return the model in a body; None if it has none, or is not JSON, which the server then refuses."""
    try:
        fields = json.loads(body)
    except ValueError:
        return None
    name = fields.get("model") if isinstance(fields, dict) else None
    return None if name is None else str(name)
