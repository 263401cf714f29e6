"""Track an answer while it is written: count its tokens, and watch for its cancellation."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from chat_api.errors import ApiError
from chat_api.openai.events import StreamChunk
from chat_api.services import limits
from chat_api.services.upstream import AnswerStream
from shared.answers import cancellations, usage

log = Logger(service="chat_api")

ANSWER_ID_HEADER = "X-Answer-Id"
FIRST_POLL_SECONDS = 0.25
"""The delay before the first check for a cancellation; by then the first words have usually been sent."""
POLL_SECONDS = 1.0
"""The interval of the checks after that; each reads one small item."""

_closing: set[asyncio.Task[None]] = set()
"""References to the tasks, because the event loop keeps only weak ones."""


class TokenMeter:
    """Counts the tokens of one answer."""

    def __init__(self, slot: usage.RequestSlot, prompt_characters: int) -> None:
        """Count for the answer that holds this slot."""
        self._slot = slot
        self._estimated = limits.estimated_tokens(prompt_characters)
        self._reported: int | None = None

    @property
    def tokens(self) -> int:
        """Tokens of prompt and answer: the model's count, or an estimate if the stream ended early."""
        return self._estimated if self._reported is None else self._reported

    def add_chunk(self, chunk: StreamChunk) -> None:
        """Count a chunk as one token, until the last chunk has the total of the whole answer."""
        if token_counts := chunk.content.get("usage"):
            self._reported = int(token_counts["total_tokens"])
        elif chunk.choices:
            self._estimated += 1

    async def close(self) -> None:
        """Record the tokens and release the slot."""
        await _release_slot(self._slot, self.tokens)


@asynccontextmanager
async def release_on_error(slot: usage.RequestSlot) -> AsyncIterator[None]:
    """Release the request's slot, without tokens, if this block fails before its answer has begun."""
    try:
        yield
    except BaseException:
        await _release_slot(slot, tokens=0)
        raise


async def _release_slot(slot: usage.RequestSlot, tokens: int) -> None:
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


class CancellationWatch:
    """Checks once a second whether one answer has been cancelled, from `start` to `stop`."""

    def __init__(self, answer_id: uuid.UUID | None, caller: str) -> None:
        """Watch the answer with the id that the client gave it, or with a new one."""
        self.answer_id = str(answer_id or uuid.uuid4())
        self._caller = caller
        self._cancelled = asyncio.Event()
        self._answer: AnswerStream | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the answer has been cancelled, as of the last check."""
        return self._cancelled.is_set()

    def start(self) -> None:
        """Start the checks in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._poll())

    def attach(self, answer: AnswerStream) -> None:
        """Cancel this stream when the answer is cancelled, or now if it has been."""
        self._answer = answer
        if self.cancelled:
            answer.cancel()

    async def sleep(self, seconds: float) -> None:
        """Wait for this time, or until the answer is cancelled."""
        try:
            async with asyncio.timeout(seconds):
                await self._cancelled.wait()
        except TimeoutError:
            return

    def stop(self) -> None:
        """Stop the checks."""
        if self._task is not None:
            self._task.cancel()

    async def _poll(self) -> None:
        await asyncio.sleep(FIRST_POLL_SECONDS)
        claimed = False
        while True:
            try:
                if not claimed:
                    await asyncio.to_thread(cancellations.claim, self.answer_id, self._caller)
                    claimed = True
                if await asyncio.to_thread(cancellations.is_cancelled, self.answer_id, self._caller):
                    break
            except (BotoCoreError, ClientError):
                log.exception("Could not check whether an answer has been cancelled")
            await asyncio.sleep(POLL_SECONDS)
        self._cancelled.set()
        if self._answer is not None:
            self._answer.cancel()


def answer_cancelled_error() -> ApiError:
    """Return the error with which a cancelled answer ends, for a client that still reads it."""
    return ApiError(
        "answer_cancelled",
        "The answer was cancelled.",
        f"The text so far is kept. For a new answer send the request again with another {ANSWER_ID_HEADER}.",
        # OpenAI's clients would repeat the request at once, with the same id.
        should_retry=False,
    )
