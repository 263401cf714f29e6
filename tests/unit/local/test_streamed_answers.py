"""How the SageMaker runtime here ends a streamed answer that takes too long."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer

from local.aws.sagemaker import runtime
from tests.unit.coroutines import outcome


class _Measured:
    """What the runtime would tell CloudWatch."""

    broken = 0

    def chunk(self) -> None:
        """Record that a piece has come."""

    def interrupted(self) -> None:
        """Record that it ended early."""
        self.broken += 1


async def _words() -> AsyncIterator[bytes]:
    while True:
        yield b"hill "
        await asyncio.sleep(0.01)


@pytest.mark.aws_fact
def test_a_streamed_answer_is_broken_off_after_eight_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime.STREAM_SECONDS == 8 * 60
    monkeypatch.setattr(runtime, "STREAM_SECONDS", 0.2)
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    measured: Any = _Measured()
    outcome(runtime._pass_on(_words(), send, measured))
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(message["body"] for message in sent))
    events: list[Any] = list(buffer)
    *pieces, last = events
    assert {piece.payload for piece in pieces} == {b"hill "}
    assert last.headers[":exception-type"] == "ModelStreamError"
    assert json.loads(last.payload)["ErrorCode"] == "ModelInvocationTimeExceeded"
    assert measured.broken == 1
