"""The one address that a browser needs: page, API, sign-in and uploads on plain ``http://localhost``.

On AWS this is CloudFront. A local certificate would make every browser warn, while it treats
``localhost`` as a secure context over plain HTTP; so this server stands in front. It takes the
target of a request from the distribution's own behaviours, and passes bytes on as they come: nothing is
buffered or compressed. As on AWS, an origin is given up when it is silent for longer than its read
timeout, and does not learn that a browser disconnects: its answer is read to the end.

What a page of another site sends is refused (`sites`). Only the public operations of a sign-in reach
Cognito, only signed requests reach S3, and the stand-in's own paths are not passed on.

``python -m local.aws.web.front_door [--port 8400] [--cloud-json .local-cloud/cloud.json]``
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from local.aws import loopback, upstream_client
from local.aws.cloud_environment import STATE_VARIABLE
from local.aws.supervisor import stop_with_parent
from local.aws.web import edge
from local.aws.web.sites import Site, SiteGuard

REFRESH_SECONDS = 5.0
"""How long a description of the distribution is used; a new deployment is seen after this."""

_KEEP_ALIVE_SECONDS = 30.0  # less than the 75 s after which the server closes an idle connection
_NOT_PASSED_ON = frozenset(
    ("connection", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
_READ_TIMEOUT_SECONDS = 30.0  # CloudFront's, unless an origin has its own
_CONNECTION_ATTEMPTS = 3  # likewise
_RETRIED_METHODS = frozenset(("GET", "HEAD"))
_SIGN_IN = "AWSCognitoIdentityProviderService."
_SIGN_IN_OPERATIONS = frozenset(
    ("ConfirmForgotPassword", "ForgotPassword", "InitiateAuth", "RespondToAuthChallenge", "RevokeToken")
)
"""Cognito's public operations that a sign-in uses."""
_SIGN_IN_TYPE = "application/x-amz-json-1.1"
_SIGN_IN_HEADERS = frozenset(("content-type", "content-length", "x-amz-target", "user-agent", "accept"))
_LINK_POLICY = (b"content-security-policy", b"sandbox allow-scripts allow-popups allow-downloads")
"""On AWS a link leads to the bucket's own origin; here a script of a stored file would be the page's."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_WITHOUT_SIGN_IN: Mapping[str, str | None] = {"authorization": None}
"""The sign-in of a page is for its API; neither CloudFront nor a link passes it on to a bucket."""
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class NotDeployedError(RuntimeError):
    """There is no distribution yet, or more than one."""


class Distribution:
    """The cloud's one CloudFront distribution, looked up again every few seconds."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._client = boto3.client(
            "cloudfront",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            verify=environment["AWS_CA_BUNDLE"],
        )
        self._lock = asyncio.Lock()
        self._known: dict[str, Any] = {}
        self.behaviours = edge.Behaviours()
        """Functions and policies of the distribution as it was last described."""
        self._read_at = -REFRESH_SECONDS

    async def described(self) -> dict[str, Any]:
        """Return the distribution as ListDistributions shows it. Raises `NotDeployedError`."""
        async with self._lock:
            if time.monotonic() - self._read_at > REFRESH_SECONDS or not self._known:
                self._known = await asyncio.to_thread(self._read)
                self._read_at = time.monotonic()
        return self._known

    def _read(self) -> dict[str, Any]:
        pages = self._client.get_paginator("list_distributions").paginate()
        found = [item for page in pages for item in page["DistributionList"].get("Items", [])]
        if not found:
            raise NotDeployedError("The app is not deployed yet: there is no CloudFront distribution.")
        if len(found) > 1:
            names = ", ".join(item["Id"] for item in found)
            raise NotDeployedError(
                f"There are several CloudFront distributions ({names}); the front door needs exactly one."
            )
        self.behaviours = edge.Behaviours.read(self._client, found[0])
        return dict(found[0])


class FrontDoor:
    """Passes requests on to the local cloud; an ASGI application by way of `application`."""

    def __init__(self, environment: Mapping[str, str], port: int) -> None:
        self._site = Site.on_loopback(port, "http")
        self._endpoint = environment["AWS_ENDPOINT_URL"]
        self._distribution = Distribution(environment)
        self._functions = edge.EdgeFunctions()
        self._trust = ssl.create_default_context(cafile=environment["AWS_CA_BUNDLE"])

    @cached_property
    def _client(self) -> aiohttp.ClientSession:
        # Made on first use: it belongs to the event loop that runs then.
        return upstream_client.open_session(self._trust, idle_seconds=_KEEP_ALIVE_SECONDS)

    def application(self) -> ASGIApp:
        """Return the routes, narrowest first, for requests of our own site."""
        routes = Starlette(
            routes=[
                Route("/aws/cognito-idp/", self.sign_in, methods=["POST"]),
                Route("/aws/s3/{bucket:str}", self.upload, methods=["POST"]),
                Route("/aws/s3/{object:path}", self.download, methods=["GET"]),
                Route("/aws/{path:path}", _nothing, methods=_METHODS),
                Route("/{path:path}", self.serve, methods=_METHODS),
            ]
        )
        return SiteGuard(routes, self._site)

    async def sign_in(self, request: Request) -> Response:
        """Pass on Cognito's public operations, as JSON, which no other site can send without a preflight."""
        service, _, operation = request.headers.get("x-amz-target", "").partition(".")
        if f"{service}." != _SIGN_IN or operation not in _SIGN_IN_OPERATIONS:
            return _refused(
                f"Only the operations of a sign-in pass here: {', '.join(sorted(_SIGN_IN_OPERATIONS))}."
            )
        if request.headers.get("content-type", "").partition(";")[0].strip() != _SIGN_IN_TYPE:
            return _refused(f"A sign-in is sent as {_SIGN_IN_TYPE}.", 415)
        left_out = {name: None for name in request.headers if name not in _SIGN_IN_HEADERS}
        return await self._pass_on(request, "/", left_out, query=False)

    async def upload(self, request: Request) -> Response:
        """Pass on S3's presigned POST, whose form holds its signature."""
        bucket = request.path_params["bucket"]
        if not _BUCKET.fullmatch(bucket):
            return _refused("This is not the name of a bucket.", 404)
        return await self._pass_on(request, f"/{bucket}", _WITHOUT_SIGN_IN, query=False)

    async def download(self, request: Request) -> Response:
        """Pass on S3's presigned GET, which was signed for the cloud's own address."""
        path = _raw_path(request).removeprefix("/aws/s3")
        if not _BUCKET.fullmatch(path.split("/")[1]) or "X-Amz-Signature" not in request.query_params:
            return _refused("A link into a bucket has to be signed.")
        response = await self._pass_on(request, path, _WITHOUT_SIGN_IN)
        response.raw_headers.append(_LINK_POLICY)
        return response

    async def serve(self, request: Request) -> Response:
        """Answer as CloudFront would: from an API's stage directly, else through the distribution."""
        if request.url.path.startswith("/_"):
            return _refused("There is nothing here.", 404)
        try:
            distribution = await self._distribution.described()
        except NotDeployedError as error:
            return PlainTextResponse(f"{error}\n", status_code=503, headers={"Retry-After": "5"})
        behaviour, edge_settings = _behaviour(distribution, request.url.path), self._distribution.behaviours
        if code := edge.function_of(behaviour, edge_settings):
            refusal = await self._functions.refusal(code, request, _raw_path(request))
            if refusal is not None:
                return refusal
        origin = _origin(distribution, behaviour)
        host, _, rest = origin["DomainName"].partition(".")
        timeouts = OriginTimeouts.with_origin(origin)
        if not rest.startswith("execute-api."):
            headers = {**_WITHOUT_SIGN_IN, "host": distribution["DomainName"]}
            return await self._pass_on(request, _raw_path(request), headers, timeouts)
        if refused := self._site.refusal(request.headers.raw):  # a link leads to the page, not to the API
            return _refused(refused)
        stage = f"/_aws/execute-api/{host}{origin.get('OriginPath', '')}"
        headers_of_api = _api_headers(behaviour, origin)
        response = await self._pass_on(request, stage + _raw_path(request), headers_of_api, timeouts)
        policy = edge_settings.policies.get(behaviour.get("ResponseHeadersPolicyId", ""), [])
        response.raw_headers = edge.replaced(response.raw_headers, policy)
        return response

    async def _pass_on(
        self,
        request: Request,
        path: str,
        headers: Mapping[str, str | None],
        timeouts: "OriginTimeouts | None" = None,
        *,
        query: bool = True,
    ) -> Response:
        """Send the request on, with its `query` or without; a None in `headers` takes that header away."""
        passed = {name: value for name, value in request.headers.items() if name not in _NOT_PASSED_ON}
        client = request.client.host if request.client else "127.0.0.1"
        merged = {**passed, "x-forwarded-for": client, **headers}
        parameters = f"?{request.url.query}" if request.url.query and query else ""
        has_body = "content-length" in passed or "transfer-encoding" in request.headers
        timeouts = timeouts or OriginTimeouts()
        attempts = timeouts.attempts if request.method in _RETRIED_METHODS and not has_body else 1
        try:
            answer = await self._ask(
                attempts,
                request.method,
                URL(self._endpoint + path + parameters, encoded=True),
                headers={name: value for name, value in merged.items() if value is not None},
                data=request.stream() if has_body else None,
                timeout=timeouts.for_client,
            )
        except TimeoutError:
            message = f"The origin did not answer within the read timeout ({timeouts.seconds} seconds).\n"
            return PlainTextResponse(message, status_code=504, headers={"X-Cache": "Error from cloudfront"})
        except upstream_client.ERRORS as error:
            return PlainTextResponse(f"The local cloud does not answer: {error!r}\n", status_code=502)
        response = _PassedOn(upstream_client.ReadToEnd(answer), status_code=answer.status)
        response.raw_headers = [
            (name, value) for name, value in answer.raw_headers if name.lower().decode() not in _NOT_PASSED_ON
        ]
        return response

    async def _ask(self, attempts: int, method: str, url: URL, **named: Any) -> aiohttp.ClientResponse:
        """Return the answer's head. Raises TimeoutError when none has come in any of the attempts."""
        for _ in range(attempts - 1):
            with contextlib.suppress(TimeoutError):
                return await self._client.request(method, url, allow_redirects=False, **named)
        return await self._client.request(method, url, allow_redirects=False, **named)


class _PassedOn(StreamingResponse):
    """An answer for as long as the browser takes it."""

    def __init__(self, reading: upstream_client.ReadToEnd, status_code: int) -> None:
        super().__init__(reading.pieces(), status_code)
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._reading.abandon()  # also if nothing was taken at all


@dataclass(frozen=True)
class OriginTimeouts:
    """How long an origin may be silent, and how often a GET or HEAD is sent."""

    seconds: float | None = None
    """Until the first byte, and between two packets; None for what is not behind CloudFront."""
    attempts: int = 1

    @classmethod
    def with_origin(cls, origin: Mapping[str, Any]) -> "OriginTimeouts":
        """Read both from an origin of the distribution's configuration."""
        custom = origin.get("CustomOriginConfig") or {}
        seconds = float(custom.get("OriginReadTimeout", _READ_TIMEOUT_SECONDS))
        return cls(seconds, int(origin.get("ConnectionAttempts", _CONNECTION_ATTEMPTS)))

    @property
    def for_client(self) -> aiohttp.ClientTimeout:
        """The same as the HTTP client's timeout."""
        return aiohttp.ClientTimeout(
            total=None, sock_connect=upstream_client.CONNECT_SECONDS, sock_read=self.seconds
        )


async def _nothing(request: Request) -> Response:
    return _refused(f"There is nothing at {request.method} {request.url.path}.", 404)


def _refused(why: str, status: int = 403) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=status)


def _raw_path(request: Request) -> str:
    """Return the path as the browser sent it, with its escapes."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.partition(b"?")[0].decode("ascii")


def _behaviour(distribution: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Return the first cache behaviour whose pattern matches, as CloudFront does."""
    for behaviour in distribution.get("CacheBehaviors", {}).get("Items", []):
        pattern = behaviour["PathPattern"]
        if fnmatchcase(path, pattern if pattern.startswith("/") else f"/{pattern}"):
            return dict(behaviour)
    return dict(distribution["DefaultCacheBehavior"])


def _origin(distribution: Mapping[str, Any], behaviour: Mapping[str, Any]) -> dict[str, Any]:
    wanted = behaviour["TargetOriginId"]
    return next(dict(item) for item in distribution["Origins"]["Items"] if item["Id"] == wanted)


def _api_headers(behaviour: Mapping[str, Any], origin: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the headers that CloudFront changes.

    An origin's own are added, and without an origin request policy the viewer's Authorization is dropped.
    """
    custom = origin.get("CustomHeaders", {}).get("Items", [])
    headers: dict[str, str | None] = {item["HeaderName"].lower(): item["HeaderValue"] for item in custom}
    if not behaviour.get("OriginRequestPolicyId"):
        headers["authorization"] = None
    return headers


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m local.aws.web.front_door", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--port", type=int, default=os.environ.get("LOCAL_AWS_PAGE_PORT", "8400"))
    parser.add_argument("--cloud-json", type=Path, help="where to read the cloud's environment from")
    options = parser.parse_args(arguments)
    if STATE_VARIABLE in os.environ:
        stop_with_parent()
    environment: Mapping[str, str] = os.environ
    if options.cloud_json:
        environment = json.loads(options.cloud_json.read_text())["environment"]
    with contextlib.suppress(KeyboardInterrupt):
        configuration = uvicorn.Config(
            FrontDoor(environment, options.port).application(),
            access_log=False,
            server_header=False,
            date_header=False,
            log_level="warning",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            proxy_headers=False,
        )
        uvicorn.Server(configuration).run(loopback.listen(options.port))


if __name__ == "__main__":
    main()
