"""Between an API Gateway proxy event and the HTTP that a function's own web server speaks.

The same translation as the Lambda Web Adapter's: the request's context travels in the headers
``x-amzn-request-context`` and ``x-amzn-lambda-context``, as JSON.
"""

import base64
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import httpx

Event = dict[str, Any]
Headers = dict[str, str | list[str]]

HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers about one connection, which a proxy never passes on."""

_GATEWAY_OWNS = frozenset(("date", "server"))
"""Response headers that API Gateway replaces with its own."""

_TEXT_TYPES = ("text/", "application/json", "application/javascript", "application/xml", "image/svg+xml")


@dataclass(frozen=True)
class Invocation:
    """The data of one invocation in the function's context object."""

    request_id: str
    function_arn: str
    function_name: str
    timeout_seconds: float
    memory_megabytes: int


def to_http(event: Event, base_url: str, invocation: Invocation) -> httpx.Request:
    """Return the HTTP request of an API Gateway proxy event (payload format 1.0).

    Raises `ValueError` when the event is not one.
    """
    if "httpMethod" not in event or "requestContext" not in event:
        raise ValueError(
            f"Function {invocation.function_name} runs a web server, so it takes API Gateway proxy events "
            f"only; this event has the keys {sorted(event)}."
        )
    body = event.get("body") or ""
    content = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    return httpx.Request(
        event["httpMethod"],
        base_url + _target(event),
        headers=[*_request_headers(event), *_context_headers(event, invocation)],
        content=content,
    )


def _target(event: Event) -> str:
    path = quote(event["path"], safe="/:@!$&'()*+,;=-._~")
    query = event.get("multiValueQueryStringParameters") or {}
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def _request_headers(event: Event) -> list[tuple[str, str]]:
    ours = HOP_BY_HOP | {"content-length", "x-amzn-request-context", "x-amzn-lambda-context"}
    return [
        (name, value)
        for name, values in (event.get("multiValueHeaders") or {}).items()
        if name.lower() not in ours
        for value in values
    ]


def _context_headers(event: Event, invocation: Invocation) -> list[tuple[str, str]]:
    context = {
        "request_id": invocation.request_id,
        "deadline": int((time.time() + invocation.timeout_seconds) * 1000),
        "invoked_function_arn": invocation.function_arn,
        "xray_trace_id": None,
        "client_context": None,
        "identity": None,
        "env_config": {
            "function_name": invocation.function_name,
            "memory": invocation.memory_megabytes,
            "version": "$LATEST",
        },
    }
    return [
        ("x-amzn-request-context", json.dumps(event["requestContext"])),
        ("x-amzn-lambda-context", json.dumps(context)),
    ]


def response_headers(received: Iterable[tuple[str, str]]) -> Headers:
    """Return a response's headers without those of the connection; a repeated one (Set-Cookie) has a list."""
    collected: dict[str, list[str]] = {}
    for name, value in received:
        if name.lower() not in HOP_BY_HOP | _GATEWAY_OWNS:
            collected.setdefault(name.lower(), []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in collected.items()}


def to_proxy_response(response: httpx.Response) -> dict[str, Any]:
    """Return the proxy response (status, headers, body) of a function that answers in one piece.

    `response` is read and its body decoded already, so its encoding and length no longer hold.
    """
    headers = response_headers(response.headers.multi_items())
    for name in ("content-encoding", "content-length"):
        headers.pop(name, None)
    text = response.headers.get("content-type", "text/").startswith(_TEXT_TYPES)
    return {
        "statusCode": response.status_code,
        "multiValueHeaders": {name: [v] if isinstance(v, str) else v for name, v in headers.items()},
        "body": response.text if text else base64.b64encode(response.content).decode(),
        "isBase64Encoded": not text,
    }
