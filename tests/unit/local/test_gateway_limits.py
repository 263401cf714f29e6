"""How long API Gateway here lets a streamed answer go on."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from local.aws import upstream_client
from local.aws.services import streaming
from tests.unit.coroutines import outcome

_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.aws_fact
@pytest.mark.parametrize("limit", ["integration", "idle", "none"])
def test_api_gateway_ends_a_stream_and_the_function_goes_on(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (streaming.IDLE_SECONDS, streaming.LONGEST_STREAM_SECONDS) == (5 * 60, 15 * 60)
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def function(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_HEAD + b"4\r\nhalf\r\n")
        await asyncio.sleep(0.5)
        writer.write(b"9\r\n and half\r\n0\r\n\r\n")
        await writer.drain()

    async def story() -> None:
        async with await asyncio.start_server(function, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            async with upstream_client.open_session() as client:
                reading = upstream_client.ReadToEnd(await client.get(url))
                longest = 0.2 if limit == "integration" else 60.0
                monkeypatch.setattr(streaming, "IDLE_SECONDS", 0.2 if limit == "idle" else 60.0)
                await streaming._runner(reading, time.monotonic() + longest)(send, None)
                await reading.ended()

    outcome(story())
    whole = [{"body": b"half"}, {"body": b" and half"}, {"body": b""}]
    said = [{"body": message["body"]} for message in sent]
    if limit == "none":
        assert said == whole
        assert sent[-1]["more_body"] is False
    else:
        assert said == whole[:1]
        assert sent[-1]["more_body"] is True, "no last frame: the client sees that it is not whole"


@pytest.mark.parametrize("late", [True, False])
def test_a_function_that_begins_too_late_is_a_504_and_goes_on(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[bool] = []
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    function: Any = SimpleNamespace(
        timeout_seconds=60.0,
        concurrency_slot=contextlib.nullcontext,
        invocation=lambda request_id: SimpleNamespace(
            request_id=request_id,
            function_arn="arn",
            function_name="late",
            timeout_seconds=60,
            memory_megabytes=128,
        ),
        count_invocation=lambda milliseconds, failed: counted.append(failed),
    )
    event = {"httpMethod": "GET", "path": "/", "requestContext": {}}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5 if late else 0)
        # More than is read ahead for somebody who takes it.
        writer.write(
            _HEAD + b"".join(b"10000\r\n" + b"." * 0x10000 + b"\r\n" for _ in range(64)) + b"0\r\n\r\n"
        )
        await writer.drain()

    async def story() -> Any:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

            @contextlib.asynccontextmanager
            async def leased(_: Any) -> AsyncIterator[Any]:
                yield SimpleNamespace(url=url, socket=None, log=lambda line: None)

            monkeypatch.setattr(streaming, "_leased", leased)
            web_function: Any = None
            async with upstream_client.open_session() as client:
                monkeypatch.setattr(streaming, "_client", lambda socket: client)
                answer = await streaming._stream(function, web_function, event, 0.1 if late else 60.0)
                if not late:
                    assert streaming._running, "it passes on what has come while the function goes on"
                    await answer[2].runner(send, None)
                await asyncio.gather(*streaming._running)
            return answer

    status, _, body = outcome(story())
    if late:
        assert (status, body) == (504, b'{"message":"Endpoint request timed out"}')
    else:
        assert (status, sum(len(message["body"]) for message in sent)) == (200, 64 * 0x10000)
    assert counted == [False], "the function has said everything"
