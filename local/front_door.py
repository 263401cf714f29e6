"""The one address that a browser needs: page, API, sign-in and uploads on plain ``http://localhost``.

On AWS this is CloudFront. A local certificate would make every browser warn, while it treats
``localhost`` as a secure context over plain HTTP; so this door stands in front. It reads where to
send a request from the distribution's own behaviours, and passes bytes on as they come: nothing is
buffered or compressed, and when the browser goes away so does the request behind the door.

``python -m local.front_door [--port 8400] [--cloud-json .local-cloud/cloud.json]``
"""

import argparse
import asyncio
import contextlib
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from yarl import URL

from local import next_server
from local.supervisor import stop_with_parent

REFRESH_SECONDS = 5.0
"""How old the knowledge of the distribution may be: a new deployment is seen after this."""

_KEEP_ALIVE_SECONDS = 30.0  # less than the 75 s after which the server closes an idle connection
_NOT_PASSED_ON = frozenset(
    ("connection", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
_CLIENT_CLOSED_REQUEST = 499  # nobody reads it; what servers log for it
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class NotDeployedError(RuntimeError):
    """There is no distribution yet whose page could be shown."""


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
        self._read_at = -REFRESH_SECONDS

    async def described(self) -> dict[str, Any]:
        """The distribution as ListDistributions shows it. Raises `NotDeployedError`."""
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
                f"There are several CloudFront distributions ({names}); the door needs one."
            )
        return dict(found[0])


class FrontDoor:
    """Passes requests on to the local cloud; an ASGI application by way of `application`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._endpoint = environment["AWS_ENDPOINT_URL"]
        self._distribution = Distribution(environment)
        self._trust = ssl.create_default_context(cafile=environment["AWS_CA_BUNDLE"])

    @cached_property
    def _client(self) -> aiohttp.ClientSession:
        # Made on first use: it belongs to the event loop that runs then.
        return next_server.session(self._trust, idle_seconds=_KEEP_ALIVE_SECONDS)

    def application(self) -> Starlette:
        """The routes, narrowest first."""
        return Starlette(
            routes=[
                Route("/aws/cognito-idp/", self.sign_in, methods=["POST"]),
                Route("/aws/s3/{bucket:str}", self.upload, methods=["POST"]),
                Route("/aws/s3/{object:path}", self.download, methods=["GET"]),
                Route("/{path:path}", self.serve, methods=_METHODS),
            ]
        )

    async def sign_in(self, request: Request) -> Response:
        """Cognito's public API."""
        return await self._pass_on(request, "/", {})

    async def upload(self, request: Request) -> Response:
        """S3's presigned POST."""
        return await self._pass_on(request, f"/{request.path_params['bucket']}", {})

    async def download(self, request: Request) -> Response:
        """S3's presigned GET; it was signed for the cloud's own address, which `_pass_on` uses."""
        return await self._pass_on(request, _raw_path(request).removeprefix("/aws/s3"), {})

    async def serve(self, request: Request) -> Response:
        """What CloudFront would answer: an API's stage straight away, else through the distribution."""
        try:
            distribution = await self._distribution.described()
        except NotDeployedError as error:
            return PlainTextResponse(f"{error}\n", status_code=503, headers={"Retry-After": "5"})
        behaviour = _behaviour(distribution, request.url.path)
        origin = _origin(distribution, behaviour)
        host, _, rest = origin["DomainName"].partition(".")
        if not rest.startswith("execute-api."):
            return await self._pass_on(request, _raw_path(request), {"host": distribution["DomainName"]})
        stage = f"/_aws/execute-api/{host}{origin.get('OriginPath', '')}"
        return await self._pass_on(request, stage + _raw_path(request), _api_headers(behaviour, origin))

    async def _pass_on(self, request: Request, path: str, headers: Mapping[str, str | None]) -> Response:
        """Send the request on; a None in `headers` takes that header away."""
        passed = {name: value for name, value in request.headers.items() if name not in _NOT_PASSED_ON}
        client = request.client.host if request.client else "127.0.0.1"
        merged = {**passed, "x-forwarded-for": client, **headers}
        query = f"?{request.url.query}" if request.url.query else ""
        has_body = "content-length" in passed or "transfer-encoding" in request.headers
        body = _RequestBody(request, empty=not has_body)
        asking = self._ask(
            request.method,
            URL(self._endpoint + path + query, encoded=True),
            {name: value for name, value in merged.items() if value is not None},
            body.pieces() if has_body else None,
        )
        try:
            answer = await _unless_disconnected(asking, body)
        except next_server.ERRORS as error:
            return PlainTextResponse(f"The local cloud does not answer: {error!r}\n", status_code=502)
        if answer is None:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        response = StreamingResponse(_body(answer), status_code=answer.status)
        response.raw_headers = [
            (name, value) for name, value in answer.raw_headers if name.lower().decode() not in _NOT_PASSED_ON
        ]
        return response

    async def _ask(
        self, method: str, url: URL, headers: Mapping[str, str], body: AsyncIterator[bytes] | None
    ) -> aiohttp.ClientResponse:
        return await self._client.request(method, url, headers=headers, data=body, allow_redirects=False)


class _RequestBody:
    """The request's body on its way in, and afterwards the news that the browser went away."""

    def __init__(self, request: Request, *, empty: bool) -> None:
        self._request = request
        self._passed_on = asyncio.Event()
        if empty:
            self._passed_on.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._request.stream():
            yield piece
        self._passed_on.set()

    async def disconnected(self) -> None:
        """Return when the browser has gone. Both would read one channel, so the body comes first."""
        await self._passed_on.wait()
        while (await self._request.receive())["type"] != "http.disconnect":
            pass


async def _unless_disconnected(
    asking: Coroutine[Any, Any, aiohttp.ClientResponse], body: _RequestBody
) -> aiohttp.ClientResponse | None:
    """The answer's head, or None when the browser went away before it came."""
    answer = asyncio.create_task(asking)
    goodbye = asyncio.create_task(body.disconnected())
    try:
        await asyncio.wait({answer, goodbye}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    except ClientDisconnect:
        return None
    finally:
        answer.cancel()
        goodbye.cancel()


async def _body(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.content.iter_any():
            yield piece
    finally:
        answer.close()  # a connection whose answer was read to its end has gone back by itself


def _raw_path(request: Request) -> str:
    """The path as the browser sent it, escapes and all."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.partition(b"?")[0].decode("ascii")


def _behaviour(distribution: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The first cache behaviour whose pattern fits, as CloudFront chooses."""
    for behaviour in distribution.get("CacheBehaviors", {}).get("Items", []):
        pattern = behaviour["PathPattern"]
        if fnmatchcase(path, pattern if pattern.startswith("/") else f"/{pattern}"):
            return dict(behaviour)
    return dict(distribution["DefaultCacheBehavior"])


def _origin(distribution: Mapping[str, Any], behaviour: Mapping[str, Any]) -> dict[str, Any]:
    wanted = behaviour["TargetOriginId"]
    return next(dict(item) for item in distribution["Origins"]["Items"] if item["Id"] == wanted)


def _api_headers(behaviour: Mapping[str, Any], origin: Mapping[str, Any]) -> dict[str, str | None]:
    """What CloudFront changes in the headers: an origin's own are added, and without an origin request
    policy the viewer's Authorization is not passed on."""
    custom = origin.get("CustomHeaders", {}).get("Items", [])
    headers: dict[str, str | None] = {item["HeaderName"].lower(): item["HeaderValue"] for item in custom}
    if not behaviour.get("OriginRequestPolicyId"):
        headers["authorization"] = None
    return headers


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m local.front_door", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=os.environ.get("STORYLOOM_LOCAL_PAGE_PORT", "8400"))
    parser.add_argument("--cloud-json", type=Path, help="where to read the cloud's environment from")
    options = parser.parse_args(arguments)
    if "STORYLOOM_LOCAL_STATE" in os.environ:
        stop_with_parent()
    environment: Mapping[str, str] = os.environ
    if options.cloud_json:
        environment = json.loads(options.cloud_json.read_text())["environment"]
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(
            FrontDoor(environment).application(),
            host="127.0.0.1",
            port=options.port,
            access_log=False,
            server_header=False,
            date_header=False,
            log_level="warning",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            proxy_headers=False,
        )


if __name__ == "__main__":
    main()
