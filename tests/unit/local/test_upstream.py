"""The client between the servers of one machine, against a real server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from local.aws import upstream_client
from tests.unit.coroutines import outcome

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n"


@asynccontextmanager
async def _server(talk: Talk) -> AsyncIterator[str]:
    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def test_a_request_goes_on_as_it_is_over_a_connection_that_stays() -> None:
    heads: list[bytes] = []
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(_HEAD + b"5\r\nnot z\r\n0\r\n\r\n")
        writer.close()

    async def twice() -> list[bytes]:
        async with _server(talk) as url, upstream_client.open_session() as client:
            said = []
            for _ in range(2):
                answer = await client.get(url, headers={"X-Own": "yes"})
                said.append(b"".join([piece async for piece in answer.content.iter_any()]))
                answer.close()
            return said

    assert outcome(twice()) == [b"not z", b"not z"], "nothing is unpacked"
    assert connections == 1
    lines = heads[0].decode().strip().splitlines()[1:]
    assert sorted(line.partition(":")[0].lower() for line in lines) == ["host", "x-own"]


def test_an_answer_that_breaks_off_is_an_error() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_HEAD + b"5\r\nhalf \r\n")
        writer.close()

    async def read() -> None:
        async with _server(talk) as url, upstream_client.open_session() as client:
            answer = await client.get(url)
            async for piece in answer.content.iter_any():
                assert piece == b"half "

    with pytest.raises(upstream_client.ERRORS):
        outcome(read())


def test_a_server_that_is_silent_for_too_long_is_an_error() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def ask() -> None:
        async with _server(talk) as url, upstream_client.open_session(answer_seconds=0.2) as client:
            await client.get(url)

    with pytest.raises(TimeoutError):
        outcome(ask())
