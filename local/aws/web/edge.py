"""Emulate CloudFront Functions and response headers policies of a distribution's cache behaviours.

The functions are the distribution's own JavaScript, run by this checkout's Node.
"""

import asyncio
import base64
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_RUNNER = Path(__file__).with_suffix(".js")
_LONGEST_LINE = 2**20
_SECURITY = {
    "ContentSecurityPolicy": "content-security-policy",
    "FrameOptions": "x-frame-options",
    "ReferrerPolicy": "referrer-policy",
}
_VALUES = {
    "ContentSecurityPolicy": "ContentSecurityPolicy",
    "FrameOptions": "FrameOption",
    "ReferrerPolicy": "ReferrerPolicy",
}


@dataclass(frozen=True)
class Behaviours:
    """The functions and policies that a distribution's cache behaviours name."""

    functions: dict[str, str] = field(default_factory=dict)
    """JavaScript by the function's ARN."""
    policies: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Headers by the policy's id; each replaces what the origin sent."""

    @classmethod
    def read(cls, client: Any, distribution: Mapping[str, Any]) -> "Behaviours":
        """Read the functions and policies of a distribution from CloudFront's API."""
        behaviours = [
            distribution["DefaultCacheBehavior"],
            *distribution.get("CacheBehaviors", {}).get("Items", []),
        ]
        functions = {arn: _code(client, arn) for one in behaviours if (arn := _function_arn(one))}
        policies = {
            policy: _headers(client, policy)
            for one in behaviours
            if (policy := one.get("ResponseHeadersPolicyId"))
        }
        return cls(functions, policies)


class EdgeFunctions:
    """A Node process that runs CloudFront Functions and ends with this process."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def refusal(self, code: str, request: Request, uri: str) -> Response | None:
        """Run a viewer request function.

        Returns:
            The response that it generated; None if it passed the request on unchanged.
        """
        event = _event(request, uri)
        answer = await self._run({"code": code, "event": event})
        if "error" in answer:
            # CloudFront responds with 503 if a function fails.
            return PlainTextResponse(f"The function failed: {answer['error']}\n", status_code=503)
        result = answer.get("result") or {}
        if "statusCode" not in result:
            if result != event["request"]:
                return PlainTextResponse(
                    "The function changed the request, which the local CloudFront does not support.\n",
                    status_code=502,
                )
            return None
        body = result.get("body") or ""
        if isinstance(body, dict):
            decode = base64.b64decode if body.get("encoding") == "base64" else str.encode
            body = decode(body["data"])
        headers = {name: one["value"] for name, one in (result.get("headers") or {}).items()}
        return Response(body, result["statusCode"], headers)

    async def _run(self, call: dict[str, Any]) -> dict[str, Any]:
        async with self._lock:
            if self._process is None or self._process.returncode is not None:
                node = shutil.which("node") or str(Path(sys.executable).parent / "node")
                pipe = asyncio.subprocess.PIPE
                self._process = await asyncio.create_subprocess_exec(
                    node, str(_RUNNER), stdin=pipe, stdout=pipe, limit=_LONGEST_LINE
                )
            process = self._process
            assert process.stdin is not None and process.stdout is not None  # noqa: S101 (pipes)
            process.stdin.write(json.dumps(call).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "Node has ended."}
        return answer


def replaced(headers: list[tuple[bytes, bytes]], policy: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return a response's raw headers, with a policy's headers replacing those of the same name."""
    raw = [(name.lower().encode(), value.encode()) for name, value in policy]
    names = {name for name, _ in raw}
    return [*(one for one in headers if one[0].lower() not in names), *raw]


def _function_arn(behaviour: Mapping[str, Any]) -> str | None:
    associations = behaviour.get("FunctionAssociations", {}).get("Items", [])
    return next((one["FunctionARN"] for one in associations if one["EventType"] == "viewer-request"), None)


def function_of(behaviour: Mapping[str, Any], behaviours: Behaviours) -> str | None:
    """Return the code of a behaviour's viewer request function; None if it has none."""
    arn = _function_arn(behaviour)
    return behaviours.functions[arn] if arn else None


def _code(client: Any, arn: str) -> str:
    answer = client.get_function(Name=arn.rpartition("/")[2], Stage="LIVE")
    code: bytes = answer["FunctionCode"].read()
    return code.decode()


def _headers(client: Any, policy: str) -> list[tuple[str, str]]:
    answer = client.get_response_headers_policy(Id=policy)
    config = answer["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]
    security = config.get("SecurityHeadersConfig", {})
    headers = [(name, security[key][_VALUES[key]]) for key, name in _SECURITY.items() if key in security]
    if "ContentTypeOptions" in security:
        headers.append(("x-content-type-options", "nosniff"))
    if hsts := security.get("StrictTransportSecurity"):
        subdomains = "; includeSubDomains" if hsts.get("IncludeSubdomains") else ""
        headers.append(("strict-transport-security", f"max-age={hsts['AccessControlMaxAgeSec']}{subdomains}"))
    custom = config.get("CustomHeadersConfig", {}).get("Items", [])
    return headers + [(one["Header"], one["Value"]) for one in custom]


def _event(request: Request, uri: str) -> dict[str, Any]:
    """Return a request as CloudFront Functions' event object."""
    return {
        "version": "1.0",
        "context": {"eventType": "viewer-request"},
        "viewer": {"ip": request.client.host if request.client else "127.0.0.1"},
        "request": {
            "method": request.method,
            "uri": uri,
            "querystring": _values(request.query_params.multi_items()),
            "headers": _values(request.headers.items()),
            "cookies": _values(list(request.cookies.items())),
        },
    }


def _values(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return names with values; a repeated name has all of them in `multiValue` and the last in `value`."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = {"value": value}
            continue
        found[name].setdefault("multiValue", [{"value": found[name]["value"]}]).append({"value": value})
        found[name]["value"] = value
    return found
