"""CloudFront Functions on one machine: the function's own JavaScript decides, in Node."""

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from local.aws.web.edge import EdgeFunctions, replaced

PASSES = "function handler(event) { return event.request; }"


def viewer_request(
    method: str = "GET", path: str = "/api/x", headers: list[tuple[str, str]] | None = None
) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers or []]
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": raw}
    return Request({**scope, "query_string": b"a=1&a=2", "client": ("192.0.2.1", 5)})


def run(code: str, *requests: Request) -> list[Response | None]:
    """Run a function for each request, in one process."""

    async def each() -> list[Response | None]:
        functions = EdgeFunctions()
        return [await functions.refusal(code, request, request.url.path) for request in requests]

    return asyncio.run(each())


def test_an_accepted_request_is_passed_on() -> None:
    assert run(PASSES, viewer_request(), viewer_request("POST")) == [None, None]


@pytest.mark.aws_fact
def test_a_function_gets_the_event_in_cloudfronts_format() -> None:
    code = """
    function handler(event) {
        const seen = {request: event.request, ip: event.viewer.ip, type: event.context.eventType};
        return {statusCode: 418, headers: {'x-own': {value: 'yes'}}, body: JSON.stringify(seen)};
    }
    """
    headers = [("X-One", "1"), ("X-Two", "a"), ("X-Two", "b"), ("Cookie", "c=d")]
    (answer,) = run(code, viewer_request("PUT", "/api/%20", headers))
    assert answer is not None
    assert (answer.status_code, answer.headers["x-own"]) == (418, "yes")
    seen = json.loads(bytes(answer.body))
    assert (seen["ip"], seen["type"], seen["request"]["method"]) == ("192.0.2.1", "viewer-request", "PUT")
    assert seen["request"]["headers"]["x-one"] == {"value": "1"}
    assert seen["request"]["headers"]["x-two"]["multiValue"] == [{"value": "a"}, {"value": "b"}]
    assert seen["request"]["querystring"]["a"]["multiValue"] == [{"value": "1"}, {"value": "2"}]
    assert seen["request"]["cookies"] == {"c": {"value": "d"}}


@pytest.mark.aws_fact
def test_a_function_that_fails_is_a_503_and_the_next_one_runs() -> None:
    failing = "function handler(event) { if (event.request.method === 'PUT') fetch(); return event.request; }"
    failed, passed = run(failing, viewer_request("PUT"), viewer_request())
    assert failed is not None and failed.status_code == 503
    assert passed is None
    (endless,) = run("function handler(event) { while (true) {} }", viewer_request())
    assert endless is not None and endless.status_code == 503


def test_a_function_has_no_access_to_node() -> None:
    for name in ("require", "process", "fetch", "setTimeout"):
        (answer,) = run(f"function handler(event) {{ {name}; return event.request; }}", viewer_request())
        assert answer is not None, name


def test_a_policy_replaces_what_the_origin_sent() -> None:
    own = [(b"X-Frame-Options", b"SAMEORIGIN"), (b"content-type", b"text/plain")]
    assert replaced(own, [("X-Frame-Options", "DENY")]) == [
        (b"content-type", b"text/plain"),
        (b"x-frame-options", b"DENY"),
    ]
