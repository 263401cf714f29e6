"""Keeps a connection alive while an answer is being made.

CloudFront gives up on an origin that sends no byte for the distribution's read timeout of 60 seconds, at the
beginning and between two packets; other proxies do after 30. So a response that is not ready in time begins
with what its readers skip: white space before JSON, a comment between server-sent events.
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

from chat_api.dependencies.errors import ApiError, unforeseen

log = Logger(service="chat_api")

FIRST_BYTE_SECONDS = 20.0
"""A response that is not ready after this begins without its result; until then it can have any status."""
BETWEEN_BYTES_SECONDS = 15.0
"""The longest silence of a response that has begun."""
_SPACE = b" "

_EVENTS_AHEAD = 16

T = TypeVar("T")
_tasks: set[asyncio.Task[Any]] = set()
"""Holds on to the tasks: the event loop itself would let them be collected."""


async def in_one_piece(
    work: Coroutine[Any, Any, Response],
    *,
    first: float | None = None,
    between: float | None = None,
) -> Response:
    """Return what `work` makes, a response with JSON; if that takes long, begin it with white space.

    A response that has begun has the status 200. If the work fails after that, the body is the error's.

    Args:
        work: makes the response.
        first: seconds after which the response begins anyway.
        between: seconds between two bytes of white space.

    Raises:
        Exception: what `work` raises, if it does so in time.
    """
    task = _kept(work)
    await asyncio.wait({task}, timeout=FIRST_BYTE_SECONDS if first is None else first)
    if task.done():
        return task.result()
    padded = _padded(task, BETWEEN_BYTES_SECONDS if between is None else between)
    return StreamingResponse(padded, media_type="application/json")


class KeptAliveRoute(APIRoute):
    """A route that answers in one piece and may take long."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler, whose response begins in time."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                # The audit trail's: an answer that has begun has the status 200, whatever comes of it.
                request.state.late_status = error.status if isinstance(error, ApiError) else 500
                raise

        async def kept_alive(request: Request) -> Response:
            return await in_one_piece(handled(request))

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
    except ApiError as refusal:
        return json.dumps(refusal.body).encode()
    except Exception:
        log.exception("Unforeseen error in an answer that had begun")
        return json.dumps(unforeseen().body).encode()


async def begun(work: Coroutine[Any, Any, AsyncGenerator[bytes]]) -> AsyncGenerator[bytes]:
    """Return the events that `work` makes; if that takes long, a stream that waits for them.

    Raises:
        Exception: what `work` raises, if it does so in time.
    """
    task = _kept(work)
    await asyncio.wait({task}, timeout=FIRST_BYTE_SECONDS)
    return task.result() if task.done() else _late_events(task)


async def _late_events(task: "asyncio.Task[AsyncGenerator[bytes]]") -> AsyncGenerator[bytes]:
    try:
        async with aclosing(await task) as events:
            async for event in events:
                yield event
    finally:
        task.cancel()


async def as_events(
    events: AsyncGenerator[bytes], silence: bytes, between: float | None = None
) -> AsyncGenerator[bytes]:
    """Pass events on; send `silence` whenever none has come for a while."""
    patience = BETWEEN_BYTES_SECONDS if between is None else between
    passed: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_EVENTS_AHEAD)

    async def read() -> None:
        # In a task of its own: waiting for the next event must not be what ends it.
        async with aclosing(events):
            try:
                async for event in events:
                    await passed.put(event)
            except Exception as error:
                await passed.put(error)
            else:
                await passed.put(None)

    reading = _kept(read())
    try:
        while True:
            try:
                async with asyncio.timeout(patience):
                    item = await passed.get()
            except TimeoutError:
                yield silence
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        reading.cancel()


def _kept(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
