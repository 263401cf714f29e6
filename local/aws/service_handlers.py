"""How MiniStack dispatches requests to services: adding a service, and checks in front of an existing one.

MiniStack has no types; they end here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ministack import app
from ministack.core import responses, router

Response = tuple[int, dict[str, str], Any]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, list[str]]], Awaitable[Response]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


def register_service(name: str, handler: Handler, target_prefixes: list[str]) -> None:
    """Answer requests signed for `name`, or whose ``X-Amz-Target`` starts with one of the prefixes.

    MiniStack checks the signature; which action a request needs is the handler's to check.
    """
    app.SERVICE_HANDLERS[name] = handler
    router.SERVICE_PATTERNS[name] = {"target_prefixes": target_prefixes}


@dataclass(frozen=True)
class HttpRequest:
    """A request as MiniStack hands it to a service, signed and authorized."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, list[str]]


def before_requests(service: str, check: Callable[[HttpRequest], Response | None]) -> None:
    """Ask `check` about each request to a service: what it answers is sent, None lets MiniStack answer."""
    handle = app.SERVICE_HANDLERS[service]

    async def handler(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Response:
        refused = check(HttpRequest(method, path, headers, body, query))
        if refused is not None:
            return refused
        answer: Response = await handle(method, path, headers, body, query)
        return answer

    app.SERVICE_HANDLERS[service] = handler


def streaming_body(runner: Callable[[Send, Receive], Awaitable[None]]) -> Any:
    """Return a response body that `runner` sends piece by piece (ASGI ``http.response.body`` messages)."""
    return responses.StreamingResponse(runner)
