"""Requests to an upstream server, whose answers are passed on piece by piece as they arrive.

On AWS a function does not learn that its client has disconnected: what it still writes is read and discarded.
So `ReadToEnd` reads a server's answer to its end, whether or not a client still reads it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp

CONNECT_SECONDS = 10.0
_LONGEST_HEADER = 64 * 1024
ERRORS = (aiohttp.ClientError, TimeoutError)
"""The server cannot be reached, breaks off its answer, or does not answer in time."""


def open_session(
    trust: ssl.SSLContext | None = None,
    *,
    idle_seconds: float = 2.0,
    answer_seconds: float | None = None,
    socket: str | None = None,
) -> aiohttp.ClientSession:
    """Make a client that keeps its connections, adds no header of its own, and leaves bodies as they are.

    Args:
        trust: whose certificates to trust; None for a server of ours that speaks plain HTTP.
        idle_seconds: how long an unused connection stays open. It must be less than the server keeps it, or
            a request meets a closed connection: uvicorn keeps it for 5 seconds.
        answer_seconds: how long the server may be silent.
        socket: the Unix socket that the server listens on, if it does not listen on a port.
    """
    connector: aiohttp.BaseConnector
    if socket is None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=idle_seconds, ssl=trust or False)
    else:
        connector = aiohttp.UnixConnector(socket, limit=0, keepalive_timeout=idle_seconds)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=answer_seconds),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
    )


_PREFETCHED_PIECES = 4
"""How many pieces are read ahead of the client; a piece is 128 KiB at most, or two packets."""


class ReadToEnd:
    """An answer that is being read in a task of its own."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        """Begin to read."""
        self._answer = answer
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_PREFETCHED_PIECES)
        self._abandoned = False
        self._failure: Exception | None = None
        self._task = asyncio.create_task(self._read())
        _reading.add(self._task)
        self._task.add_done_callback(_reading.discard)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the pieces as they come, for one reader; if it stops early, the rest is discarded.

        Raises:
            aiohttp.ClientError: the server broke off.
            TimeoutError: the server was silent for too long.
        """
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Discard what is still to come."""
        self._abandoned = True
        while not self._queue.empty():
            self._queue.get_nowait()

    async def ended(self) -> None:
        """Wait until the answer has been read to its end.

        Raises:
            aiohttp.ClientError: the server broke off.
            TimeoutError: the server was silent for too long.
        """
        await asyncio.shield(self._task)
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Stop reading before the end: the server sees its client disconnect."""
        self._task.cancel()

    async def _read(self) -> None:
        try:
            async for piece in self._answer.content.iter_any():
                await self._enqueue(piece)
        except ERRORS as error:
            self._failure = error
            await self._enqueue(error)
        else:
            await self._enqueue(None)
        finally:
            self._answer.close()  # a connection whose answer was read to its end has gone back by itself

    async def _enqueue(self, item: bytes | Exception | None) -> None:
        if not self._abandoned:
            await self._queue.put(item)


_reading: set[asyncio.Task[None]] = set()
"""References to the tasks: the event loop itself holds weak ones only."""
