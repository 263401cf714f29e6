"""What stands before the API on AWS: API Gateway asks the authorizer, the Web Adapter says who asks."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from authorizer import handler as authorizer
from stacks.chat.edge import REFUSALS
from tests.unit.functions.conftest import Context

_METHOD_ARN = "arn:aws:execute-api:us-east-1:123456789012:abc123/prod/GET/api/status"
_REFUSALS = {refusal.kind: refusal for refusal in REFUSALS}
_CONTEXT = b"x-amzn-request-context"


class Gateway:
    """The app behind its authorizer."""

    def __init__(self, app: ASGIApp, before: Callable[[], None]) -> None:
        """Stand before an app.

        Args:
            app: the API.
            before: called before each request: what goes on in the world meanwhile.
        """
        self._app, self._before = app, before

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await asyncio.to_thread(self._before)
        if (scope["method"], scope["path"]) == ("GET", "/api/health"):
            await self._app(scope, receive, send)
            return
        try:
            said = await asyncio.to_thread(_ask_authorizer, scope)
        except authorizer.Unauthorized:
            await _refuse("UNAUTHORIZED", send)
        except Exception:
            await _refuse("AUTHORIZER_FAILURE", send)
        else:
            await self._app(_with_context(scope, said["context"]), receive, send)


def _ask_authorizer(scope: Scope) -> dict[str, Any]:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    event = {"type": "REQUEST", "methodArn": _METHOD_ARN, "headers": headers}
    return authorizer.handler(event, Context())


def _with_context(scope: Scope, who: dict[str, Any]) -> Scope:
    """Tell the app who asks, whatever the client says of it."""
    headers = [(name, value) for name, value in scope["headers"] if name != _CONTEXT]
    return {**scope, "headers": [*headers, (_CONTEXT, json.dumps({"authorizer": who}).encode())]}


async def _refuse(kind: str, send: Send) -> None:
    refusal = _REFUSALS[kind]
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body.encode()})
