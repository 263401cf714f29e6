"""`/v1/chat/completions`, `/v1/completions` and `/v1/models`, as OpenAI's clients expect them."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, StreamingResponse

from chat_api.dependencies import keep_alive, limits, request_fields
from chat_api.dependencies.errors import ApiError, refusals, unforeseen
from chat_api.dependencies.identity import Caller, MayAsk, MayChat, require_still_allowed
from chat_api.dependencies.request_fields import StrictFields
from chat_api.openai.answers import ChatAnswer, ChatChunk, CompletionAnswer, CompletionChunk, described
from chat_api.openai.events import DONE, EventReader, as_chunk, comment, sse
from chat_api.openai.forms import ResponseFormat, cut, gather
from chat_api.openai.openai_schema import AnswerRequest, ChatRequest, CompletionRequest, ModelCard, ModelList
from chat_api.routes import cancelling
from chat_api.routes.cancelling import AnswerId, CancelWatch
from chat_api.services import upstream, waiting, waking
from chat_api.services.metering import TokenMeter, release_on_error
from chat_api.services.waiting import StreamRetryPolicy, WaitSeconds
from contracts import environment
from shared import clock
from shared.answers import usage
from shared.hosting import hosting_state
from shared.items import HostingState, LivePointer
from shared.models import versions

log = Logger(service="chat_api")
router = APIRouter(prefix="/v1", tags=["OpenAI"])

LIVE_NAME = versions.LIVE_NAME
BASE_NAME = "base"
_REFUSALS = refusals(402, 404, 409, 413, 422, 502, 503)


@router.get("/models", responses=refusals())
def list_models(user: MayChat) -> ModelList:
    """List the models that can be asked: the live version as `storyloom`, each loaded version, the base.

    Where the base model can only be hosted merged, the live version alone.
    """
    pointer = versions.live()
    if pointer is None:
        return ModelList(data=[])
    created = int(clock.instant(pointer.updated_at).timestamp())
    return ModelList(data=[ModelCard(id=name, created=created) for name in names(pointer)])


@router.post("/chat/completions", response_model=None, responses=_REFUSALS | described(ChatAnswer, ChatChunk))
async def chat(
    request: ChatRequest, caller: MayAsk, wait: WaitSeconds, answer_id: AnswerId, strict: StrictFields
) -> Response:
    """Answer a chat. With `stream`, server-sent events; they end with `[DONE]`, or with an `error` event."""
    return await _answer(request, caller, wait, CancelWatch(answer_id, caller.sub), strict)


@router.post(
    "/completions", response_model=None, responses=_REFUSALS | described(CompletionAnswer, CompletionChunk)
)
async def complete(
    request: CompletionRequest, caller: MayAsk, wait: WaitSeconds, answer_id: AnswerId, strict: StrictFields
) -> Response:
    """Go on with a text, without any chat around it. With `stream`, server-sent events as for a chat."""
    return await _answer(request, caller, wait, CancelWatch(answer_id, caller.sub), strict)


async def _answer(
    request: AnswerRequest, caller: Caller, wait: int, watch: CancelWatch, strict: bool
) -> Response:
    ignored = request_fields.take_known(request, strict=strict)
    limits.check(request, limits.context_tokens())
    if not request.stream:
        response = await keep_alive.in_one_piece(_in_one_piece(request, caller, watch))
    elif wait:
        await caller.counted
        # A model that there is not gets its own status, as without waiting.
        await asyncio.to_thread(lambda: _name_of(request.model, versions.live()))
        slot = await asyncio.to_thread(limits.acquire_slot, caller.account)
        response = _streamed(_after_waiting(request, caller, slot, StreamRetryPolicy(wait), watch))
    else:
        response = _streamed(await keep_alive.begun(_events(request, caller, watch)))
    response.headers[cancelling.HEADER] = watch.answer_id
    request_fields.tell_ignored(response, ignored)
    return response


async def _events(request: AnswerRequest, caller: Caller, watch: CancelWatch) -> AsyncGenerator[bytes]:
    """Ask, and return the events of the answer that has begun."""
    _, chunks = await _begin(request, caller, watch)
    return _as_sse(chunks, request.wants_usage)


async def _in_one_piece(request: AnswerRequest, caller: Caller, watch: CancelWatch) -> Response:
    version, chunks = await _begin(request, caller, watch)
    heard: list[dict[str, Any]] = []
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                heard.append(chunk)
    except (upstream.StreamInterrupted, upstream.AnswerCancelled) as why:
        error = _ended_early(why)
        # The words that came are paid for, and may be all that the person needs.
        error.detail.answer = gather(heard, version, request.form)
        return JSONResponse(error.body, error.status, error.headers)
    return JSONResponse(gather(heard, version, request.form))


async def _begin(
    request: AnswerRequest, caller: Caller, watch: CancelWatch
) -> tuple[str, AsyncGenerator[dict[str, Any]]]:
    """Admit the caller, ask the model, and return its version and the chunks of its answer."""
    model, slot = await _model_and_slot(request.model, caller)
    async with release_on_error(slot):
        answer = await _ask(request, model, watch)
    return model.version, _chunks(answer, model, request.form, TokenMeter(slot, request.characters), watch)


async def _model_and_slot(asked: str, caller: Caller) -> tuple["_Model", usage.RequestSlot]:
    """Look for the model, let the caller in and count the request at the same time.

    Each takes a way to the table and back. What follows from them waits for all: nobody who may not ask
    has the model woken.
    """
    counted, slot, found = await asyncio.gather(
        caller.counted,
        asyncio.to_thread(limits.acquire_slot, caller.account),
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
        return await _ready(asked, *found), slot


async def _ask(request: AnswerRequest, model: "_Model", watch: CancelWatch) -> upstream.Answer:
    body = request.engine_fields()
    # Always streamed from the endpoint: SageMaker ends an answer in one piece after 60 seconds.
    body |= {"model": model.version, "stream": True, "stream_options": {"include_usage": True}}
    return await upstream.ask(body, watch.answer_id)


async def _after_waiting(
    request: AnswerRequest,
    caller: Caller,
    slot: usage.RequestSlot,
    retry_policy: StreamRetryPolicy,
    watch: CancelWatch,
) -> AsyncGenerator[bytes]:
    """Say how far the model is until it answers, then pass its answer on."""
    watch.start()
    waited = False
    try:
        async with release_on_error(slot):
            while True:
                try:
                    state, live = await asyncio.to_thread(hosting_state.state_and_live)
                    if waited and state.status != "waking":
                        # From here the model is asked or woken, which costs as much.
                        await asyncio.to_thread(require_still_allowed, caller)
                    model = await _ready(request.model, state, live)
                    answer = await _ask(request, model, watch)
                    break
                except ApiError as refusal:
                    if not retry_policy.should_retry(refusal):
                        raise
                    yield comment(waiting.progress(refusal))
                waited = True
                await watch.sleep(waiting.LOOK_SECONDS)
                if watch.cancelled:
                    raise cancelling.answer_cancelled()
        chunks = _chunks(answer, model, request.form, TokenMeter(slot, request.characters), watch)
        async with aclosing(_as_sse(chunks, request.wants_usage)) as events:
            async for event in events:
                yield event
    finally:
        watch.stop()


def _streamed(events: AsyncGenerator[bytes]) -> StreamingResponse:
    headers = {"X-Accel-Buffering": "no"}
    lively = keep_alive.as_events(events, comment("The answer goes on."))
    return StreamingResponse(_with_errors(lively), media_type="text/event-stream", headers=headers)


async def _with_errors(events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Say what is wrong in the stream itself: it has begun, with 200."""
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except ApiError as refusal:
        yield sse(json.dumps(refusal.body))
    except Exception:
        log.exception("Unforeseen error in a stream")
        yield sse(json.dumps(unforeseen().body))


async def _chunks(
    answer: upstream.Answer, model: "_Model", form: ResponseFormat, meter: TokenMeter, watch: CancelWatch
) -> AsyncGenerator[dict[str, Any]]:
    """Yield OpenAI chunks. A stream that breaks off is an `StreamInterrupted`, however it broke.

    Whatever ends it, the connection to the endpoint is closed, the caller's place is free and the tokens are
    written down before this returns.
    """
    reader = EventReader()
    ended, indices = False, set()
    ends_at = time.monotonic() + upstream.LONGEST_ANSWER_SECONDS
    watch.start()
    watch.end_with(answer)
    try:
        async with aclosing(answer.chunks()) as parts:
            async for part in parts:
                for data in reader.feed(part):
                    if data == DONE:
                        ended = True
                        return
                    chunk = as_chunk(data, model.version, form)
                    if chunk is not None:
                        meter.add_chunk(chunk)
                        ended = ended or _is_last(chunk)
                        indices |= {choice.get("index", 0) for choice in chunk.get("choices", [])}
                        yield _checked(chunk)
                        if indices and not ended and time.monotonic() > ends_at:
                            yield cut(chunk, indices, form)
                            return
        for data in reader.close():
            chunk = None if data == DONE else as_chunk(data, model.version, form)
            ended = ended or data == DONE or (chunk is not None and _is_last(chunk))
            if chunk is not None:
                meter.add_chunk(chunk)
                yield _checked(chunk)
        if not ended:
            raise upstream.StreamInterrupted("The stream ended before the answer did.")
    finally:
        watch.stop()
        await answer.close(by_itself=ended)
        await meter.close()
        await _touch(model.last_used_at)


def _checked(chunk: dict[str, Any]) -> dict[str, Any]:
    if "error" in chunk:
        error = chunk["error"]
        message = error.get("message", error) if isinstance(error, dict) else error
        raise upstream.StreamInterrupted(str(message))
    return chunk


def _is_last(chunk: dict[str, Any]) -> bool:
    return any(choice.get("finish_reason") for choice in chunk.get("choices", []))


async def _as_sse(chunks: AsyncGenerator[dict[str, Any]], wants_usage: bool) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                if chunk.get("choices") or wants_usage:
                    yield sse(json.dumps(chunk, ensure_ascii=False, separators=(",", ":")))
        yield sse(DONE)
    except (upstream.StreamInterrupted, upstream.AnswerCancelled) as why:
        # What was said has been sent and stays; the error says that it is not all.
        raise _ended_early(why) from why


def _ended_early(why: upstream.StreamInterrupted | upstream.AnswerCancelled) -> ApiError:
    if isinstance(why, upstream.AnswerCancelled):
        return cancelling.answer_cancelled()
    log.warning("An answer broke off", extra={"why": str(why)[:300]})
    return ApiError(
        502,
        "answer_broke_off",
        "The model stopped in the middle of its answer.",
        "What it said so far is kept. Ask again for the rest.",
    )


@dataclass(frozen=True)
class _Model:
    """The model that is asked."""

    version: str
    """What the endpoint knows it by."""
    last_used_at: clock.Utc | None
    """When it was used before, as the table says."""


async def _ready(asked: str, state: HostingState, pointer: LivePointer | None) -> _Model:
    """Return the model that was asked for, when it is awake.

    Raises:
        ApiError: 409 before the first model, 404 for an unknown one, 503 where it has to be woken first.
    """
    version = await asyncio.to_thread(_name_of, asked, pointer)
    if state.status != "awake":
        raise await asyncio.to_thread(waking.wake)
    await _touch(state.last_used_at)
    return _Model(version, state.last_used_at)


async def _touch(last_used_at: clock.Utc | None) -> None:
    """Note that the model is used. It is noted once a minute, so mostly nothing has to be written."""
    if not last_used_at or clock.seconds_since(last_used_at) > hosting_state.TOUCH_EVERY.total_seconds():
        await asyncio.to_thread(hosting_state.touch)


def _name_of(asked: str, pointer: LivePointer | None) -> str:
    if pointer is None:
        raise no_model_yet()
    if asked == LIVE_NAME and pointer.merged:
        # The endpoint's own name for its only version: while it takes another, either of them answers to it.
        return LIVE_NAME
    if asked in {LIVE_NAME, pointer.version}:
        return pointer.version
    if asked not in names(pointer):
        raise unknown_model(asked, pointer)
    return asked


def no_model_yet() -> ApiError:
    """There is nothing to ask before the first version."""
    return ApiError(
        409,
        "no_model_yet",
        "There is no model yet: none has been trained and deployed.",
        "Add stories; a run starts by itself when the bucket has been quiet for a while.",
    )


def unknown_model(asked: str, pointer: LivePointer) -> ApiError:
    """Somebody asked for a model that is not loaded."""
    cure = f"Ask one of: {', '.join(names(pointer))}."
    if not pointer.merged or (asked != BASE_NAME and versions.get(asked) is None):
        return ApiError(404, "model_not_found", f"There is no model {asked!r} to ask.", cure)
    alone = (
        f"{asked} cannot be asked: {pointer.version} is loaded alone, merged with its base model "
        f"({environment.common().base_model.id}), which the model server cannot host with adapters."
    )
    if asked != BASE_NAME:
        cure += f" To have {asked} answer instead: storyloom models activate {asked}."
    return ApiError(404, "model_not_found", alone, cure)


def names(pointer: LivePointer) -> list[str]:
    """Return the names of the models that can be asked: the live version's first."""
    known = [LIVE_NAME, pointer.version]
    if pointer.merged:
        return known
    previous = versions.get(pointer.previous) if pointer.previous else None
    base = environment.common().base_model
    if previous is not None and (previous.base_model, previous.base_revision) == (base.id, base.revision):
        known.append(previous.version)
    return [*known, BASE_NAME]
