"""Runs inside vLLM's container, from the bundle: makes the `model` of a request choose the adapter.

vLLM's `/invocations` takes the adapter's name from a header that SageMaker sets for inference components
only, and overwrites the body's `model` with it. Without the header every request, also one for a version that
is not there, is silently answered by the base model. This puts the body's own `model` into that header.

Nothing but the standard library may be imported here: the container's packages are not ours to know.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_HEADER = b"x-amzn-sagemaker-adapter-identifier"


class NameAdapter:
    """ASGI middleware over vLLM's server."""

    def __init__(self, app: App) -> None:
        """Stand before the server."""
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, one to `/invocations` with the header."""
        if scope["type"] != "http" or scope["path"] != "/invocations":
            await self._app(scope, receive, send)
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

        await self._app({**scope, "headers": [*others, *named]}, replay, send)


def _model(body: bytes) -> str | None:
    """The model that a body names; None where it names none, or is no JSON, which the server then refuses."""
    try:
        fields = json.loads(body)
    except ValueError:
        return None
    name = fields.get("model") if isinstance(fields, dict) else None
    return None if name is None else str(name)
