"""Generate an answer: check the caller's limits, send the request to the model, and stream its answer."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from chat_api.errors import ApiError, unauthorized_error
from chat_api.openai.answers import ResponseFormat
from chat_api.openai.events import (
    DONE,
    EventReader,
    StreamChunk,
    comment,
    merge_chunks,
    parse_chunk,
    server_sent_event,
    truncated_chunk,
)
from chat_api.openai.requests import AnswerRequest
from chat_api.services import limits, model_access, upstream
from chat_api.services.model_access import AwakeModel, StreamRetryPolicy
from chat_api.services.upstream import CancellationWatch, answer_cancelled_error
from contracts import statuses
from shared.accounts import keys, people
from shared.answers import usage
from shared.hosting import hosting_state
from shared.models import versions

log = Logger(service="chat_api")

_closing: set[asyncio.Task[None]] = set()
"""References to the tasks, because the event loop keeps only weak ones."""


@dataclass(frozen=True)
class Caller:
    """The caller of a request to the model, whose rate is counted while the model is looked up."""

    sub: str
    account: str
    key_id: str | None
    counted: "asyncio.Task[None]"
    """To be awaited before the model is used or woken; raises an error if a key exceeds its rate."""


async def generate_answer(request: AnswerRequest, caller: Caller, watch: CancellationWatch) -> dict[str, Any]:
    """Return the answer in one piece.

    Raises:
        ApiError: the request is refused, or the answer ended early; then the error contains its text so far.
    """
    version, stream = await _start(request, caller, watch)
    chunks: list[StreamChunk] = []
    try:
        async with aclosing(stream):
            async for chunk in stream:
                chunks.append(chunk)
    except (upstream.StreamInterrupted, upstream.AnswerCancelled) as reason:
        error = _ended_early_error(reason)
        # The tokens so far are paid for, and the text may be all that the person needs.
        error.detail.answer = merge_chunks(chunks, version, request.answer_format)
        raise error from reason
    return merge_chunks(chunks, version, request.answer_format)


async def answer_events(
    request: AnswerRequest, caller: Caller, watch: CancellationWatch
) -> AsyncGenerator[bytes]:
    """Start the answer, and return its events.

    Raises:
        ApiError: the request is refused.
    """
    _, chunks = await _start(request, caller, watch)
    return _to_events(chunks, request.wants_usage)


async def waiting_events(
    request: AnswerRequest, caller: Caller, wait_seconds: float, watch: CancellationWatch
) -> AsyncGenerator[bytes]:
    """Admit the caller, and return the events of an answer that waits for a model that is not awake.

    Raises:
        ApiError: the caller is refused, or there is no such model.
    """
    await caller.counted
    # The error of a model that does not exist has its own status, as it has without waiting.
    await asyncio.to_thread(lambda: model_access.endpoint_name(request.model, versions.live()))
    slot = await asyncio.to_thread(limits.acquire_answer_slot, caller.account)
    return _wait_and_answer(request, caller, slot, StreamRetryPolicy(wait_seconds), watch)


async def _start(
    request: AnswerRequest, caller: Caller, watch: CancellationWatch
) -> tuple[str, AsyncGenerator[StreamChunk]]:
    """Admit the caller, send the request, and return the model's version and the chunks of its answer."""
    model, slot = await _model_and_slot(request.model, caller)
    async with release_on_error(slot):
        stream = await _send(request, model, watch)
    meter = TokenMeter(slot, request.characters)
    return model.version, _chunks(stream, model, request.answer_format, meter, watch)


async def _model_and_slot(name: str, caller: Caller) -> tuple[AwakeModel, usage.RequestSlot]:
    """Look up the model, acquire the caller's slot and count the request at the same time.

    Each is a round trip to the table. Their consequences wait for all three: a caller who is refused does not
    wake the model.
    """
    counted, slot, found = await asyncio.gather(
        caller.counted,
        asyncio.to_thread(limits.acquire_answer_slot, caller.account),
        asyncio.to_thread(hosting_state.state_and_live),
        return_exceptions=True,
    )
    if isinstance(slot, BaseException):
        raise counted if isinstance(counted, BaseException) else slot
    async with release_on_error(slot):
        for failure in (counted, found):
            if isinstance(failure, BaseException):
                raise failure
        assert not isinstance(found, BaseException)  # noqa: S101 - for the type checker
        return await model_access.awake_model(name, *found), slot


async def _send(request: AnswerRequest, model: AwakeModel, watch: CancellationWatch) -> upstream.AnswerStream:
    body = request.engine_fields()
    # Always streamed from the endpoint: SageMaker ends an answer in one piece after 60 seconds.
    body |= {"model": model.version, "stream": True, "stream_options": {"include_usage": True}}
    return await upstream.invoke(body, watch.answer_id)


async def _wait_and_answer(
    request: AnswerRequest,
    caller: Caller,
    slot: usage.RequestSlot,
    retry_policy: StreamRetryPolicy,
    watch: CancellationWatch,
) -> AsyncGenerator[bytes]:
    """Send comments until the model answers, then its answer."""
    watch.start()
    waited = False
    try:
        async with release_on_error(slot):
            while True:
                try:
                    state, live = await asyncio.to_thread(hosting_state.state_and_live)
                    if waited and state.status != statuses.WAKING:
                        # From here on the model is used or woken, which costs as much.
                        await asyncio.to_thread(_check_still_allowed, caller)
                    model = await model_access.awake_model(request.model, state, live)
                    stream = await _send(request, model, watch)
                    break
                except ApiError as error:
                    if not retry_policy.should_retry(error):
                        raise
                    yield comment(model_access.wait_progress(error))
                waited = True
                await watch.sleep(model_access.POLL_SECONDS)
                if watch.cancelled:
                    raise answer_cancelled_error()
        meter = TokenMeter(slot, request.characters)
        chunks = _chunks(stream, model, request.answer_format, meter, watch)
        async with aclosing(_to_events(chunks, request.wants_usage)) as events:
            async for event in events:
                yield event
    finally:
        watch.stop()


def _check_still_allowed(caller: Caller) -> None:
    """Check again that the caller may use the model, because the stream may have waited for minutes.

    Raises:
        ApiError: the person was removed or lost their role, or the key expired or was revoked.
    """
    person = people.get(caller.account)
    if person is None or "chat" not in person.scopes:
        raise unauthorized_error()
    if caller.key_id is not None:
        key = keys.get(caller.key_id)
        if key is None or not keys.is_valid(key):
            raise unauthorized_error()


async def _chunks(
    stream: upstream.AnswerStream,
    model: AwakeModel,
    answer_format: ResponseFormat,
    meter: "TokenMeter",
    watch: CancellationWatch,
) -> AsyncGenerator[StreamChunk]:
    """Yield the chunks of an answer.

    However it ends, the connection to the endpoint is closed, the caller's slot is released and the tokens
    are recorded before this returns.

    Raises:
        StreamInterrupted: the stream ended before the answer did.
        AnswerCancelled: the caller cancelled the answer.
    """
    reader = EventReader()
    complete, indices = False, set[int]()
    deadline = time.monotonic() + upstream.LONGEST_ANSWER_SECONDS
    watch.start()
    watch.attach(stream)
    try:
        async with aclosing(stream.parts()) as parts:
            async for part in parts:
                for data in reader.feed(part):
                    if data == DONE:
                        complete = True
                        return
                    chunk = parse_chunk(data, model.version, answer_format)
                    if chunk is not None:
                        meter.add_chunk(chunk)
                        complete = complete or chunk.is_last
                        indices |= {choice.get("index", 0) for choice in chunk.choices}
                        yield _without_error(chunk)
                        if indices and not complete and time.monotonic() > deadline:
                            yield truncated_chunk(chunk, indices, answer_format)
                            return
        for data in reader.close():
            chunk = None if data == DONE else parse_chunk(data, model.version, answer_format)
            complete = complete or data == DONE or (chunk is not None and chunk.is_last)
            if chunk is not None:
                meter.add_chunk(chunk)
                yield _without_error(chunk)
        if not complete:
            raise upstream.StreamInterrupted("The stream ended before the answer did.")
    finally:
        watch.stop()
        await stream.close(complete=complete)
        await meter.close()
        await model_access.record_use(model.last_used_at)


def _without_error(chunk: StreamChunk) -> StreamChunk:
    """Return the chunk, or raise the error that it contains."""
    if "error" in chunk.content:
        error = chunk.content["error"]
        message = error.get("message", error) if isinstance(error, dict) else error
        raise upstream.StreamInterrupted(str(message))
    return chunk


async def _to_events(chunks: AsyncGenerator[StreamChunk], wants_usage: bool) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                if chunk.choices or wants_usage:
                    yield chunk.to_event()
        yield server_sent_event(DONE)
    except (upstream.StreamInterrupted, upstream.AnswerCancelled) as reason:
        # The text so far has been sent and stays; the error tells the client that it is incomplete.
        raise _ended_early_error(reason) from reason


def _ended_early_error(reason: upstream.StreamInterrupted | upstream.AnswerCancelled) -> ApiError:
    if isinstance(reason, upstream.AnswerCancelled):
        return answer_cancelled_error()
    log.warning("An answer was interrupted", extra={"reason": str(reason)[:300]})
    return ApiError(
        "answer_broke_off",
        "The model stopped in the middle of its answer.",
        "The text so far is kept. Send the request again for the rest.",
    )


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
