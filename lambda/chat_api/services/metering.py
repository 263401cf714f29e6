"""Counts what an answer takes, and writes it down when the answer has ended, however it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from chat_api.dependencies import limits
from shared.answers import usage

log = Logger(service="chat_api")

_closing: set[asyncio.Task[None]] = set()
"""Holds on to the tasks: the event loop itself would let them be collected."""


class TokenMeter:
    """Counts the tokens of one answer."""

    def __init__(self, slot: usage.RequestSlot, prompt_characters: int) -> None:
        """Count for the answer that holds this slot."""
        self._slot = slot
        self._estimated = limits.tokens_of(prompt_characters)
        self._reported: int | None = None

    @property
    def tokens(self) -> int:
        """Tokens of prompt and answer: the model's count, or an estimate if the stream ended early."""
        return self._estimated if self._reported is None else self._reported

    def add_chunk(self, chunk: dict[str, Any]) -> None:
        """Count a chunk as one token, until the last chunk has the total of the whole answer."""
        if chunk.get("usage"):
            self._reported = int(chunk["usage"]["total_tokens"])
        elif chunk.get("choices"):
            self._estimated += 1

    async def close(self) -> None:
        """Record the tokens and release the slot."""
        await _end(self._slot, self.tokens)


@asynccontextmanager
async def release_on_error(slot: usage.RequestSlot) -> AsyncIterator[None]:
    """Release the request's slot if this block fails, because its answer has not begun."""
    try:
        yield
    except BaseException:
        await give_back(slot)
        raise


async def give_back(slot: usage.RequestSlot) -> None:
    """Release a slot without counting tokens, because there was no answer."""
    await _end(slot, tokens=0)


async def _end(slot: usage.RequestSlot, tokens: int) -> None:
    """Release a slot even if the caller has disconnected, which cancels this task but not the write."""
    task = asyncio.create_task(asyncio.to_thread(_write, slot, tokens))
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    await asyncio.shield(task)


def _write(slot: usage.RequestSlot, tokens: int) -> None:
    try:
        usage.end(slot, tokens)
    except (BotoCoreError, ClientError):
        # The answer has been sent and stays valid.
        log.exception("Could not record the tokens of an answer")
