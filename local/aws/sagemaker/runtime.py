"""The SageMaker runtime: InvokeEndpoint and InvokeEndpointWithResponseStream.

Every piece of the model's answer is passed on as it comes, for eight minutes at most. AWS does not
document whether a container learns that the caller disconnects, so here it does not: its answer is read to
the end.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cache

import aiohttp

from local.aws import upstream_client
from local.aws.errors import AwsError
from local.aws.sagemaker import event_stream
from local.aws.sagemaker.endpoints import METRIC_NAMESPACE, acquire_server
from local.aws.sagemaker.record_store import sagemaker_arn
from local.aws.service_handlers import Receive, Response, Send, streaming_body
from local.aws.services.cloudwatch import record_metrics
from local.aws.services.iam import Denied, authorize_request

PATH = re.compile(r"^/endpoints/(?P<name>[^/]+)/invocations(?P<stream>-response-stream)?$")
BODY_BYTES = 6 * 1024 * 1024
"""What the runtime's API reference allows; reports of larger bodies that passed are not relied on."""
ANSWER_SECONDS = 60.0
STREAM_SECONDS = 8 * 60.0
"""How long a streamed answer may take from its first to its last byte."""
_PASSED = {
    "content-type": "content-type",
    "accept": "accept",
    "x-amzn-sagemaker-accept": "accept",
    "x-amzn-sagemaker-custom-attributes": "x-amzn-sagemaker-custom-attributes",
}
_SERVER_ERROR = 500


@dataclass
class InvocationMetrics:
    """One request, from when the server gets it."""

    endpoint: str
    variant: str
    _begun: float = field(default_factory=time.monotonic)
    _first: bool = False

    def answered(self, status: int) -> None:
        """Record the status of the answer; without an answer it is 500 or above."""
        client, server = 400 <= status < _SERVER_ERROR, status >= _SERVER_ERROR
        self._record(
            Invocations=1,
            Invocation4XXErrors=client,
            Invocation5XXErrors=server,
            InvocationModelErrors=client or server,
        )

    def complete(self) -> None:
        """Record the latency of an answer in one piece."""
        self._record(ModelLatency=self._microseconds())

    def chunk(self) -> None:
        """Record the latency of the first piece of a streamed answer."""
        if not self._first:
            self._first = True
            self._record(FirstChunkModelLatency=self._microseconds())

    def interrupted(self) -> None:
        """Record that a streamed answer was interrupted."""
        self._record(MidStreamErrors=1)

    def _microseconds(self) -> float:
        return (time.monotonic() - self._begun) * 1_000_000

    def _record(self, **values: float) -> None:
        dimensions = {"EndpointName": self.endpoint, "VariantName": self.variant}
        record_metrics(METRIC_NAMESPACE, {name: float(value) for name, value in values.items()}, dimensions)


async def handle_runtime(
    path: str, headers: dict[str, str], query: dict[str, list[str]], body: bytes
) -> Response:
    """Answer a request to the runtime."""
    match = PATH.match(path)
    if match is None:
        return _error(AwsError("UnknownOperationException", f"No such operation: {path}", 404))
    name, streamed = match["name"], bool(match["stream"])
    action = "InvokeEndpointWithResponseStream" if streamed else "InvokeEndpoint"
    try:
        authorize_request(headers, query, f"sagemaker:{action}", sagemaker_arn("endpoint", name))
        if len(body) > BODY_BYTES:
            raise AwsError("ValidationError", f"The body is over the limit of {BODY_BYTES} bytes.")
        fleet = acquire_server(name)
    except Denied as denied:
        return _error(AwsError("AccessDeniedException", denied.message))
    except AwsError as error:
        return _error(error)
    passed = {_PASSED[key]: value for key, value in headers.items() if key in _PASSED}
    async with AsyncExitStack() as stack:
        stack.callback(fleet.release)
        measured = InvocationMetrics(name, str(fleet.variant["VariantName"]))
        try:
            answer = await _client(STREAM_SECONDS if streamed else ANSWER_SECONDS).post(
                f"{fleet.url}/invocations", headers=passed, data=body
            )
            if streamed and answer.ok:
                return _stream(answer, measured, stack)
            stack.callback(answer.close)
            return await _in_one_piece(answer, measured)
        except upstream_client.ERRORS as error:
            measured.answered(503)
            return _error(_unreachable(name, error))


@cache
def _client(seconds: float) -> aiohttp.ClientSession:
    return upstream_client.open_session(answer_seconds=seconds)


async def _in_one_piece(answer: aiohttp.ClientResponse, measured: InvocationMetrics) -> Response:
    body = await answer.read()
    measured.answered(answer.status)
    if answer.ok:
        measured.complete()
        return 200, _headers(answer, measured.variant), body
    text = body.decode(errors="replace")
    original: dict[str, object] = {"OriginalMessage": text, "OriginalStatusCode": answer.status}
    return _error(_model_error(answer.status, text, measured.endpoint), original)


def _stream(answer: aiohttp.ClientResponse, measured: InvocationMetrics, stack: AsyncExitStack) -> Response:
    measured.answered(answer.status)
    reading = upstream_client.ReadToEnd(answer)
    kept = asyncio.create_task(_keep_until_read(reading, stack.pop_all()))
    _kept.add(kept)
    kept.add_done_callback(_kept.discard)

    async def run(send: Send, receive: Receive) -> None:
        await _pass_on(reading.pieces(), send, measured)

    headers = {
        "Content-Type": "application/vnd.amazon.eventstream",
        "X-Amzn-SageMaker-Content-Type": answer.headers.get("content-type", "application/octet-stream"),
        "x-Amzn-Invoked-Production-Variant": measured.variant,
    }
    return 200, headers, streaming_body(run)


async def _keep_until_read(reading: upstream_client.ReadToEnd, stack: AsyncExitStack) -> None:
    """Keep the server acquired until its answer has ended, whether or not a client reads it."""
    async with stack:
        with contextlib.suppress(*upstream_client.ERRORS):
            async with asyncio.timeout(STREAM_SECONDS):
                await reading.ended()
        reading.end()


_kept: set[asyncio.Task[None]] = set()
"""References to the tasks: the event loop itself holds weak ones only."""


async def _pass_on(pieces: AsyncIterator[bytes], send: Send, measured: InvocationMetrics) -> None:
    try:
        async with asyncio.timeout(STREAM_SECONDS):
            async for piece in pieces:
                measured.chunk()
                part = event_stream.payload_part(piece)
                await send({"type": "http.response.body", "body": part, "more_body": True})
    except upstream_client.ERRORS as error:
        measured.interrupted()
        failed = event_stream.failure("ModelStreamError", _stream_error(error))
        await send({"type": "http.response.body", "body": failed, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _stream_error(error: Exception) -> bytes:
    if isinstance(error, TimeoutError):
        message = "Your model primary did not complete sending the inference response in the allotted time."
        return json.dumps({"Message": message, "ErrorCode": "ModelInvocationTimeExceeded"}).encode()
    return json.dumps(
        {"Message": f"The model's answer broke off: {error}", "ErrorCode": "StreamBroken"}
    ).encode()


def _headers(answer: aiohttp.ClientResponse, variant: str) -> dict[str, str]:
    headers = {
        "Content-Type": answer.headers.get("content-type", "application/octet-stream"),
        "x-Amzn-Invoked-Production-Variant": variant,
    }
    custom = "x-amzn-sagemaker-custom-attributes"
    if custom in answer.headers:
        headers[custom] = answer.headers[custom]
    return headers


def _model_error(status: int, text: str, name: str) -> AwsError:
    side = "client" if status < 500 else "server"
    return AwsError(
        "ModelError",
        f"Received {side} error ({status}) from primary with message {json.dumps(text)}. "
        f"See the log group /aws/sagemaker/Endpoints/{name} for more information.",
        424,
    )


def _unreachable(name: str, error: Exception) -> AwsError:
    if isinstance(error, TimeoutError):
        return _model_error(
            500, "Your invocation timed out while waiting for a response from container primary.", name
        )
    return _model_error(503, f"The server does not answer: {type(error).__name__}", name)


def _error(error: AwsError, original: dict[str, object] | None = None) -> Response:
    body: dict[str, object] = {"Message": error.message, **(original or {})}
    headers = {"Content-Type": "application/json", "x-amzn-errortype": error.code}
    return error.status, headers, json.dumps(body).encode()
