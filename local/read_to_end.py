"""Reads a server's answer to its end, whether or not a client still reads it.

On AWS a function does not learn that its client has disconnected: what it still writes is read and discarded.
"""

import asyncio
from collections.abc import AsyncIterator

import aiohttp

from local.next_server import ERRORS

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
