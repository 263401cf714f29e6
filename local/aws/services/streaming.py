"""Streamed answers of REST APIs, which MiniStack lacks, and web functions that run under the Web Adapter.

An integration whose URI ends in ``/response-streaming-invocations`` passes the function's answer on
as it comes. On AWS a managed Python runtime cannot stream by itself, only through the Web Adapter;
the same holds here. A function does not learn that a client disconnects: it runs to its end, and
what it still writes is discarded.
"""

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import aiohttp
import httpx
from yarl import URL

from local.aws import upstream_client
from local.aws.service_handlers import Receive, Response, Send, streaming_body
from local.aws.services import api_gateway
from local.aws.services.api_gateway import Invoker, RestCall
from local.aws.services.lambda_functions import (
    Execution,
    LambdaFunction,
    Throttled,
    on_code_or_settings_change,
    service_may_invoke,
    wrap_warm_executor,
)
from local.aws.services.proxy_events import Event, response_headers, to_http, to_proxy_response
from local.aws.services.web_adapter import AppPool, AppProcess, WebAppError, WebFunction, http_client

GATEWAY = "apigateway.amazonaws.com"
LONGEST_STREAM_SECONDS = 15 * 60.0
"""API Gateway ends a streamed answer after this, or after the integration's own timeout."""
IDLE_SECONDS = 5 * 60.0
"""API Gateway ends a stream of a regional API that is silent for so long."""

_log = logging.getLogger(__name__)
_pool = AppPool()


def install() -> None:
    """Add all of it to the MiniStack of this process."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every request of the app
    api_gateway.wrap_lambda_proxy(_with_streaming)
    api_gateway.guard_authorizers(_permitted)
    wrap_warm_executor(_run_web_function)
    on_code_or_settings_change(_pool.retire)


def _with_streaming(original: Invoker) -> Invoker:
    async def invoke(call: RestCall) -> Response:
        function = call.function
        if function is None or not (
            call.integration.get("credentials") or _permitted(function, call.source_arn)
        ):
            error: Response = api_gateway.gateway_error("API_CONFIGURATION_ERROR", "Internal server error")
            return error
        if not call.integration.get("uri", "").endswith("/response-streaming-invocations"):
            return await original(call)
        web_function = function.as_web_function()
        if web_function is None:
            _log.error(
                "%s is called with a streaming integration but does not stream: a Python function needs the "
                "Lambda Web Adapter (AWS_LAMBDA_EXEC_WRAPPER=/opt/bootstrap) for it.",
                function.name,
            )
            return _bad_gateway()
        longest = min(float(call.integration.get("timeoutInMillis") or 29_000) / 1000, LONGEST_STREAM_SECONDS)
        return await _stream(function, web_function, call.event, longest)

    return invoke


def _permitted(function: LambdaFunction, source_arn: str) -> bool:
    allowed = service_may_invoke(function, GATEWAY, source_arn)
    if not allowed:
        _log.error(
            "API Gateway may not invoke %s for %s: the function's policy has no statement that allows "
            "lambda:InvokeFunction to %s from there (AWS::Lambda::Permission).",
            function.name,
            source_arn,
            GATEWAY,
        )
    return allowed


def _bad_gateway() -> Response:
    body = json.dumps({"message": "Internal server error"}).encode()
    return 502, {"Content-Type": "application/json", "x-amzn-ErrorType": "InternalServerErrorException"}, body


# Streamed ---------------------------------------------------------------------------------------


_Answering = tuple[aiohttp.ClientResponse, upstream_client.ReadToEnd]


@dataclass
class _Run:
    """One streamed invocation on its way."""

    function: LambdaFunction
    request_id: str
    process: AppProcess
    started: float
    cleanup: contextlib.AsyncExitStack

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.started + self.function.timeout_seconds - time.monotonic())


async def _stream(
    function: LambdaFunction, web_function: WebFunction, event: Event, longest: float
) -> Response:
    ends_at = time.monotonic() + longest
    request_id = str(uuid.uuid4())
    async with contextlib.AsyncExitStack() as cleanup:
        try:
            cleanup.enter_context(function.concurrency_slot())
            process = await cleanup.enter_async_context(_leased(web_function))
        except Throttled:
            error: Response = api_gateway.gateway_error("INTEGRATION_FAILURE", "Internal server error")
            return error
        except WebAppError:  # its log says why
            function.count_invocation(0, failed=True)
            return _bad_gateway()
        run = _Run(function, request_id, process, time.monotonic(), cleanup)
        process.log(f"START RequestId: {request_id} Version: $LATEST")
        run.cleanup = cleanup.pop_all()  # from here on `_run_to_end` cleans up, when the last byte is read
    begun: asyncio.Future[_Answering | None] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(_run_to_end(run, event, begun))
    _running.add(running)
    running.add_done_callback(_running.discard)
    left = max(0.0, ends_at - time.monotonic())
    either: set[asyncio.Future[Any]] = {begun, running}
    await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    if not begun.done():
        begun.cancel()  # the function goes on, and what it writes is discarded
        if running.done():
            return _bad_gateway()
        return 504, {"Content-Type": "application/json"}, b'{"message":"Endpoint request timed out"}'
    if (answering := begun.result()) is None:
        return _bad_gateway()
    answer, reading = answering
    headers = response_headers(answer.headers.items())
    return answer.status, headers, streaming_body(_runner(reading, ends_at))  # type: ignore[return-value]


async def _run_to_end(run: _Run, event: Event, begun: "asyncio.Future[_Answering | None]") -> None:
    """Run the function until its answer is complete or its timeout is over, client or not."""
    async with run.cleanup:
        answer = await _first_byte(run, event)
        if answer is None:
            if not begun.cancelled():
                begun.set_result(None)
            return
        reading = upstream_client.ReadToEnd(answer)
        if begun.cancelled():
            reading.abandon()
        else:
            begun.set_result((answer, reading))
        try:
            async with asyncio.timeout(run.seconds_left):
                await reading.ended()
        except TimeoutError:
            _time_out(run)
        except aiohttp.ClientError as error:
            _finish(run, f"The web server broke off its answer: {error!r}")
        else:
            _finish(run)


_running: set[asyncio.Task[None]] = set()
"""References to the tasks: the event loop itself holds weak ones only."""


@contextlib.asynccontextmanager
async def _leased(function: WebFunction) -> AsyncIterator[AppProcess]:
    process = _pool.reserve(function)
    try:
        if not process.ready:
            await asyncio.to_thread(_pool.wait_until_ready, process)
        yield process
    finally:
        _pool.release(process)


@cache
def _client(socket: str | None) -> aiohttp.ClientSession:
    # The function's timeout counts, not the client's.
    return upstream_client.open_session(socket=socket)


async def _first_byte(run: _Run, event: Event) -> aiohttp.ClientResponse | None:
    """Send the request and return once the status and the headers are there; None when it fails."""
    request = to_http(event, run.process.url, run.function.invocation(run.request_id))
    try:
        async with asyncio.timeout(run.seconds_left):
            answer = await _client(run.process.socket).request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.content,
                allow_redirects=False,
            )
    except TimeoutError:
        _time_out(run)
        return None
    except aiohttp.ClientError as error:
        _finish(run, f"The web server broke the connection: {error!r}")
        return None
    return answer


def _runner(reading: upstream_client.ReadToEnd, ends_at: float) -> Any:
    async def runner(send: Send, receive: Receive) -> None:
        """Pass pieces on as they come, for as long as API Gateway lets a stream go on.

        An answer that breaks off has no last frame: the client sees that it is not whole.
        """
        async with contextlib.aclosing(reading.pieces()) as pieces:  # type: ignore[type-var]  # a generator
            with contextlib.suppress(TimeoutError, aiohttp.ClientError):
                while True:
                    async with asyncio.timeout(min(IDLE_SECONDS, ends_at - time.monotonic())):
                        piece = await anext(pieces, None)
                    await send(
                        {"type": "http.response.body", "body": piece or b"", "more_body": piece is not None}
                    )
                    if piece is None:
                        return

    return runner


def _time_out(run: _Run) -> None:
    """End the execution environment and log the timeout, as AWS does."""
    _pool.kill(run.process)
    _finish(run, f"Task timed out after {run.function.timeout_seconds:.2f} seconds")


def _finish(run: _Run, failure: str = "") -> None:
    milliseconds = round((time.monotonic() - run.started) * 1000)
    if failure:
        run.process.log(f"{run.request_id} {failure}")
    run.process.log(f"END RequestId: {run.request_id}")
    run.process.log(f"REPORT RequestId: {run.request_id}\tDuration: {milliseconds} ms")
    run.function.count_invocation(milliseconds, failed=bool(failure))


# In one piece -----------------------------------------------------------------------------------


def _run_web_function(function: LambdaFunction, event: Event, request_id: str) -> Execution | None:
    """Invoke a web function that answers in one piece; return None for any other function."""
    web_function = function.as_web_function()
    if web_function is None:
        return None
    try:
        process = _pool.lease(web_function)
    except WebAppError as error:
        return _failure("Runtime.ExitError", str(error))
    try:
        with http_client(process.socket, function.timeout_seconds) as client:
            request = to_http(event, process.url, function.invocation(request_id))
            request.extensions["timeout"] = httpx.Timeout(function.timeout_seconds).as_dict()
            return {"body": to_proxy_response(client.send(request)), "log": ""}
    except httpx.TimeoutException:
        _pool.kill(process)
        return _failure("Sandbox.Timedout", f"Task timed out after {function.timeout_seconds:.2f} seconds")
    except (httpx.TransportError, ValueError) as error:
        return _failure(type(error).__name__, str(error))
    finally:
        _pool.release(process)


def _failure(kind: str, message: str) -> Execution:
    return {"body": {"errorMessage": message, "errorType": kind}, "error": True, "log": message}
