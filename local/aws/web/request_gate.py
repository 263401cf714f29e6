"""Authenticate every request before MiniStack, the stand-in for AWS, handles it.

MiniStack accepts the root user's key without checking the signature, and serves paths of its own
(`/_ministack/reset`) to anyone. So every request passes this gate first. It refuses requests that a browser
sends for another site (`sites`), requests with an invalid signature, and unsigned requests other than
the few kinds that AWS accepts without a signature.
"""

import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, quote

from local.aws.service_handlers import Receive, Response, Send
from local.aws.web import request_signatures
from local.aws.web.request_signatures import NotAuthenticatedError, SignedRequest
from local.aws.web.sites import Site

Scope = dict[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HEALTH = "/_ministack/health"

_API = "/_aws/execute-api/"
_RESPONSE_URLS = ("/_ministack/cfn-response/", "/_ministack/cfn-signal/")
"""Where a custom resource sends its response: on AWS a presigned URL, here a path with a random part."""
_DISTRIBUTION = re.compile(r"[a-z0-9]+\.cloudfront\.net")
_BEFORE_DISTRIBUTIONS = ("/health", "/iceberg", "/login", "/logout", "/oauth2/", "/v2/", "/v20180820/")
"""Paths that MiniStack serves itself for any host, so they never reach a distribution."""
_KEY_SET = re.compile(r"/[a-z]{2}-[a-z]+-\d_\w+/\.well-known/(jwks\.json|openid-configuration)")
_HASH = re.compile("[0-9a-f]{64}")
_SIGN_IN = "AWSCognitoIdentityProviderService."
_JSON = "application/x-amz-json-1."
_LONGEST_FORM = 64 * 1024
"""How many bytes of an unsigned request's body are read to detect the service whose error is returned."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Incoming:
    """One HTTP request, before its body is read."""

    scope: Scope

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def raw_path(self) -> str:
        raw: bytes = self.scope.get("raw_path") or quote(self.path).encode()
        return raw.partition(b"?")[0].decode("latin-1")

    @cached_property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True)

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers by lower-case name; values of a repeated header are joined by commas, as in SigV4."""
        found: dict[str, str] = {}
        for name, value in self.scope["headers"]:
            key, text = name.decode("latin-1").lower(), _decoded(value)
            found[key] = f"{found[key]},{text}" if key in found else text
        return found

    @cached_property
    def distribution(self) -> str | None:
        """The host name if it is a distribution's, else None."""
        host = self.headers.get("host", "")
        return host if _DISTRIBUTION.fullmatch(host) and request_signatures.names_distribution(host) else None

    @property
    def is_of_api(self) -> bool:
        return self.path.startswith(_API)

    @property
    def keeps_cors(self) -> bool:
        """Whether the response's CORS headers come from the app: its API, a bucket or the distribution."""
        is_of_bucket = self.service == "s3" and not _KEY_SET.fullmatch(self.path)
        return self.is_of_api or self.distribution is not None or is_of_bucket

    @cached_property
    def service(self) -> str:
        """The service that handles the request, as far as it can be detected without the body."""
        return request_signatures.detected_service(self.method, self.path, self.headers, self.query)

    def needs_no_signature(self) -> bool:
        """Return whether AWS accepts this kind of request unsigned."""
        if self.is_of_api:
            return True  # the API has an authorizer
        if self.distribution is not None:
            return self.method in ("GET", "HEAD") and not self.path.startswith(_BEFORE_DISTRIBUTIONS)
        if self.path.startswith(_RESPONSE_URLS):
            return self.method == "PUT"
        if _KEY_SET.fullmatch(self.path):
            return self.method == "GET"
        return self._is_sign_in() or self._is_form() or self._is_preflight()

    def _is_sign_in(self) -> bool:
        service, _, operation = self.headers.get("x-amz-target", "").partition(".")
        return (
            (self.method, self.path, self.query) == ("POST", "/", {})
            and f"{service}." == _SIGN_IN
            and operation in request_signatures.unsigned_operations("cognito-idp")
            and self.headers.get("content-type", "").startswith(_JSON)
        )

    def _is_form(self) -> bool:
        """Return whether this is an S3 form upload; its signature is a form field, which S3 checks."""
        form = self.headers.get("content-type", "").startswith("multipart/form-data")
        to_bucket = self.path.count("/") == 1 and self._names_bucket()
        return self.method == "POST" and not self.query and form and to_bucket

    def _is_preflight(self) -> bool:
        """Return whether this is a CORS preflight for a bucket, which the bucket's own rules decide.

        MiniStack would allow every site if the request named no bucket.
        """
        return self.method == "OPTIONS" and "origin" in self.headers and self._names_bucket()

    def _names_bucket(self) -> bool:
        return self.service == "s3" and request_signatures.names_bucket(
            self.headers.get("host", ""), self.path
        )


class RequestGate:
    """ASGI middleware that refuses unauthenticated requests."""

    def __init__(self, application: Application, site: Site) -> None:
        self._application = application
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it to the application."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(Incoming(scope), receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, request: Incoming, receive: Receive, send: Send) -> None:
        body = _Body(receive)
        answer = self._answer_at_once(request)
        if answer is None:
            try:
                receive, send = await self._authenticated(request, body, send)
            except NotAuthenticatedError as error:
                answer = await _refusal(request, body, error)
        if answer is not None:
            await _send(request, send, answer)
            return
        await self._application(request.scope, receive, send)

    def _answer_at_once(self, request: Incoming) -> Response | None:
        document = request.distribution is not None and request.method == "GET"
        refused = self._site.refusal(
            request.scope["headers"], document=document, virtual_host=request.distribution
        )
        if refused:
            _log.warning("refused %s %s: %s", request.method, request.path, refused)
            return _json(403, {"message": refused})
        if request.path == HEALTH and request.method == "GET":
            return _json(200, {"status": "up"})
        own = request.path == "/health" or (request.path.startswith("/_") and not request.is_of_api)
        if own and not request.path.startswith(_RESPONSE_URLS):
            return _json(404, {"message": f"The local cloud has nothing at {request.path}."})
        return None

    async def _authenticated(self, request: Incoming, body: "_Body", send: Send) -> tuple[Receive, Send]:
        """Authenticate a request, and return the `receive` and `send` for the application.

        Raises:
            NotAuthenticatedError: the request is not authenticated.
        """
        if not request.keeps_cors:
            send = _without_cors(send)
        kind = request_signatures.signature_kind(request.headers, request.query)
        if kind == "unsupported":
            raise NotAuthenticatedError(
                "UnsupportedSignature", "The request signature does not conform to AWS standards."
            )
        acting = request_signatures.acting_key(request.headers, request.query)
        if kind == "none":
            if acting or not request.needs_no_signature():
                raise NotAuthenticatedError(
                    "MissingAuthenticationToken", "Request is missing Authentication Token"
                )
            return body.receive, send
        signed = SignedRequest(request.method, request.raw_path, request.headers, request.query)
        content = b"" if _hash_known_before(signed.body_hash) else await body.read()
        if signed.verify(content) != acting:
            raise NotAuthenticatedError("SignatureDoesNotMatch", "More than one access key is named.")
        if signed.body_hash and _HASH.fullmatch(signed.body_hash):
            return _checked(body.receive, send, signed.body_hash)
        return body.receive, send


class _Body:
    """A request's body, which can be read here and still be received by the application."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: list[dict[str, Any]] = []

    async def read(self, most: int | None = None) -> bytes:
        """Read the whole body, or stop once `most` bytes have arrived."""
        while self._read_more(most):
            self._read.append(await self._receive())
        return b"".join(message.get("body", b"") for message in self._read)

    def _read_more(self, most: int | None) -> bool:
        if not self._read:
            return True
        size = sum(len(message.get("body", b"")) for message in self._read)
        return bool(self._read[-1].get("more_body")) and (most is None or size < most)

    async def receive(self) -> dict[str, Any]:
        """Replay what was read, then receive the rest from the server."""
        return self._read.pop(0) if self._read else await self._receive()


def _hash_known_before(declared: str | None) -> bool:
    """Return whether the signature can be checked before the body is read; S3 objects can be large."""
    return declared in request_signatures.UNSIGNED_BODIES or bool(_HASH.fullmatch(declared or ""))


def _checked(receive: Receive, send: Send, declared: str) -> tuple[Receive, Send]:
    """Hash a body while it is received, and abort the request if the hash is not the signed one."""
    seen = hashlib.sha256()
    wrong = False

    async def read() -> dict[str, Any]:
        nonlocal wrong
        message = await receive()
        seen.update(message.get("body", b""))
        if (
            message["type"] == "http.request"
            and not message.get("more_body")
            and seen.hexdigest() != declared
        ):
            wrong = True
            status, headers, body = request_signatures.s3_error(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                400,
            )
            await _start(send, status, headers, body)
            return {"type": "http.disconnect"}
        return message

    async def write(message: dict[str, Any]) -> None:
        if not wrong:
            await send(message)

    return read, write


def _without_cors(send: Send) -> Send:
    """Remove CORS headers: MiniStack allows every site to read every response, which the app never needs."""

    async def write(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value)
                for name, value in message.get("headers", [])
                if not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": kept}
        await send(message)

    return write


async def _refusal(request: Incoming, body: _Body, error: NotAuthenticatedError) -> Response:
    """Return the error in the protocol of the requested service."""
    signed = SignedRequest(request.method, request.raw_path, request.headers, request.query)
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    service = signed.service or request_signatures.detected_service(
        request.method,
        request.path,
        request.headers,
        request.query,
        await body.read(_LONGEST_FORM) if form else b"",
    )
    _log.warning("refused %s %s (%s): %s: %s", request.method, request.path, service, error.code, error)
    return request_signatures.refused(service, error, request.headers)


def _json(status: int, content: object) -> Response:
    return status, {"Content-Type": "application/json"}, json.dumps(content).encode()


async def _send(request: Incoming, send: Send, answer: Response) -> None:
    status, headers, body = answer
    await _start(send, status, headers, b"" if request.method == "HEAD" else body)


async def _start(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.lower().encode(), str(value).encode()) for name, value in headers.items()]
    length = [(b"content-length", str(len(body)).encode())]
    kept = [(name, value) for name, value in raw if name != b"content-length"]
    await send({"type": "http.response.start", "status": status, "headers": kept + length})
    await send({"type": "http.response.body", "body": body})


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
