"""Counts what an answer takes, and writes it down when the answer has ended, however it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from chat_api import limits
from shared import usage

log = Logger(service="chat_api")

_closing: set[asyncio.Task[None]] = set()
"""Holds on to the tasks: the event loop itself would let them be collected."""


class TokenMeter:
    """Counts the tokens of one answer."""

    def __init__(self, ticket: usage.Ticket, prompt_characters: int) -> None:
        """Take the ticket that the answer was let in with."""
        self._ticket = ticket
        self._estimated = limits.tokens_of(prompt_characters)
        self._reported: int | None = None

    @property
    def tokens(self) -> int:
        """Tokens of the prompt and the answer: the model's count, or an estimate if the stream ended before it."""
        return self._estimated if self._reported is None else self._reported

    def add_chunk(self, chunk: dict[str, Any]) -> None:
        """Count a chunk as one token, until the last chunk has the total of the whole answer."""
        if chunk.get("usage"):
            self._reported = int(chunk["usage"]["total_tokens"])
        elif chunk.get("choices"):
            self._estimated += 1

    async def close(self) -> None:
        """Record the tokens and release the slot."""
        await _end(self._ticket, self.tokens)


@asynccontextmanager
async def release_on_error(ticket: usage.Ticket) -> AsyncIterator[None]:
    """Release the request's slot if this block fails, because its answer has not begun."""
    try:
        yield
    except BaseException:
        await give_back(ticket)
        raise


async def give_back(ticket: usage.Ticket) -> None:
    """Take no tokens for what was not answered."""
    await _end(ticket, tokens=0)


async def _end(ticket: usage.Ticket, tokens: int) -> None:
    """Return a ticket, also for a caller who has hung up: that ends this task, not the writing."""
    task = asyncio.create_task(asyncio.to_thread(_write, ticket, tokens))
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    await asyncio.shield(task)


def _write(ticket: usage.Ticket, tokens: int) -> None:
    try:
        usage.end(ticket, tokens)
    except (BotoCoreError, ClientError):
        # The answer has been given; it is not taken back for this.
        log.exception("Could not write down the tokens of an answer")
