"""Keep a connection alive while a response is being prepared.

CloudFront closes the connection to an origin that sends no byte for 60 seconds, the distribution's read
timeout, at the beginning or between two packets; other proxies do so after 30. A response that is not ready
in time therefore begins with bytes that its readers skip: white space before JSON, a comment between
server-sent events.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from aws_lambda_powertools import Logger
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute

from chat_api.errors import ApiError, internal_error
from chat_api.openai.events import comment, server_sent_event

log = Logger(service="chat_api")

FIRST_BYTE_SECONDS = 20.0
"""The time after which a response begins without its result. Until then it can still have any status."""
BETWEEN_BYTES_SECONDS = 15.0
"""The longest time without a byte in a response that has begun."""
_SPACE = b" "

_MAX_QUEUED_EVENTS = 16

T = TypeVar("T")
_tasks: set[asyncio.Task[Any]] = set()
"""References to the tasks, because the event loop keeps only weak ones."""


async def json_in_time(
    work: Coroutine[Any, Any, Response],
    *,
    first: float | None = None,
    between: float | None = None,
) -> Response:
    """Return the JSON response that `work` returns; if that takes long, begin it with white space.

    A response that has begun has the status 200. If the work fails after that, the body is the error's.

    Args:
        work: returns the response.
        first: seconds after which the response begins without its result.
        between: seconds between two bytes of white space.

    Raises:
        Exception: the exception that `work` raises in time.
    """
    task = _start_task(work)
    await asyncio.wait({task}, timeout=FIRST_BYTE_SECONDS if first is None else first)
    if task.done():
        return task.result()
    padded = _padded(task, BETWEEN_BYTES_SECONDS if between is None else between)
    return StreamingResponse(padded, media_type="application/json")


class KeptAliveRoute(APIRoute):
    """A route whose JSON response may take long."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler, whose response begins in time."""
        handle = super().get_route_handler()

        async def handle_and_note_status(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                # For the audit trail, because a response that has begun has the status 200.
                request.state.late_status = error.status if isinstance(error, ApiError) else 500
                raise

        async def kept_alive(request: Request) -> Response:
            return await json_in_time(handle_and_note_status(request))

        return kept_alive


async def _padded(task: "asyncio.Task[Response]", between: float) -> AsyncIterator[bytes]:
    try:
        while not task.done():
            yield _SPACE
            await asyncio.wait({task}, timeout=between)
        yield _late_body(task)
    finally:
        task.cancel()


def _late_body(task: "asyncio.Task[Response]") -> bytes:
    try:
        return bytes(task.result().body)
    except ApiError as error:
        return json.dumps(error.body).encode()
    except Exception:
        log.exception("Unexpected error in a response that had begun")
        return json.dumps(internal_error().body).encode()


async def events_in_time(work: Coroutine[Any, Any, AsyncGenerator[bytes]]) -> AsyncGenerator[bytes]:
    """Return the events that `work` returns; if that takes long, a stream that waits for them.

    Raises:
        Exception: the exception that `work` raises in time.
    """
    task = _start_task(work)
    await asyncio.wait({task}, timeout=FIRST_BYTE_SECONDS)
    return task.result() if task.done() else _late_events(task)


async def _late_events(task: "asyncio.Task[AsyncGenerator[bytes]]") -> AsyncGenerator[bytes]:
    try:
        async with aclosing(await task) as events:
            async for event in events:
                yield event
    finally:
        task.cancel()


def event_stream(events: AsyncGenerator[bytes]) -> StreamingResponse:
    """Return a response that streams events, with heartbeats between them."""
    kept_alive = with_heartbeats(events, comment("The answer goes on."))
    return StreamingResponse(
        _with_errors(kept_alive), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _with_errors(events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Send an error as an event, because the stream has begun with the status 200."""
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except ApiError as error:
        yield server_sent_event(json.dumps(error.body))
    except Exception:
        log.exception("Unexpected error in a stream")
        yield server_sent_event(json.dumps(internal_error().body))


async def with_heartbeats(
    events: AsyncGenerator[bytes], heartbeat: bytes, between: float | None = None
) -> AsyncGenerator[bytes]:
    """Yield events, and `heartbeat` whenever none has arrived for a while."""
    timeout = BETWEEN_BYTES_SECONDS if between is None else between
    queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_MAX_QUEUED_EVENTS)

    async def read() -> None:
        # In a task of its own, because the timeout must not cancel the wait for the next event.
        async with aclosing(events):
            try:
                async for event in events:
                    await queue.put(event)
            except Exception as error:
                await queue.put(error)
            else:
                await queue.put(None)

    reading = _start_task(read())
    try:
        while True:
            try:
                async with asyncio.timeout(timeout):
                    item = await queue.get()
            except TimeoutError:
                yield heartbeat
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        reading.cancel()


def _start_task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
