"""`/v1/chat/completions`, `/v1/completions` and `/v1/models`, as OpenAI's clients expect them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from aws_lambda_powertools import Logger
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, StreamingResponse

from chat_api import limits, upstream, waking
from chat_api.errors import ApiError, refusals
from chat_api.events import DONE, EventReader, as_chunk, sse
from chat_api.forms import Form, gather
from chat_api.identity import MayChat, User
from chat_api.metering import Meter
from chat_api.openai_schema import AnswerRequest, ChatRequest, CompletionRequest, ModelCard, ModelList
from shared import clock, environment, hosting, usage, versions
from shared.models import LivePointer

log = Logger(service="chat_api")
router = APIRouter(prefix="/v1", tags=["OpenAI"])

LIVE_NAME = "storyloom"
BASE_NAME = "base"


@router.get("/models", responses=refusals())
def list_models(user: MayChat) -> ModelList:
    """List the models that can be asked: the live version as `storyloom`, each loaded version, the base."""
    pointer = versions.live()
    if pointer is None:
        return ModelList(data=[])
    created = int(clock.instant(pointer.updated_at).timestamp())
    return ModelList(data=[ModelCard(id=name, created=created) for name in _names(pointer)])


@router.post("/chat/completions", response_model=None, responses=refusals(404, 409, 413, 422, 502, 503))
async def chat(request: ChatRequest, user: MayChat) -> Response:
    """Answer a chat. With `stream`, server-sent events; they end with `[DONE]`, or with an `error` event."""
    return await _answer(request, user)


@router.post("/completions", response_model=None, responses=refusals(404, 409, 413, 422, 502, 503))
async def complete(request: CompletionRequest, user: MayChat) -> Response:
    """Go on with a text, without any chat around it. With `stream`, server-sent events as for a chat."""
    return await _answer(request, user)


async def _answer(request: AnswerRequest, user: User) -> Response:
    limits.check(request)
    version = await asyncio.to_thread(_ready_version, request.model)
    body = request.model_dump(exclude_unset=True)
    # Always streamed from the endpoint: SageMaker ends an answer in one piece after 60 seconds.
    body |= {"model": version, "stream": True, "stream_options": {"include_usage": True}}
    ticket = await asyncio.to_thread(limits.admit, user.sub)
    try:
        answer = await upstream.ask(body)
    except BaseException:
        await asyncio.to_thread(usage.end, ticket, tokens=0)
        raise
    events = _chunks(answer, version, request.form, Meter(ticket, request.characters))
    if request.stream:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        stream = _as_sse(events, answer, request.wants_usage)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
    return await _in_one_piece(events, version, request.form)


async def _chunks(
    answer: upstream.Answer, version: str, form: Form, meter: Meter
) -> AsyncIterator[dict[str, Any]]:
    """Yield OpenAI chunks. A stream that breaks off is an `AnswerBroke`, however it broke."""
    reader = EventReader()
    finished = False
    try:
        async with aclosing(answer.chunks()) as parts:  # type: ignore[type-var]  # it is a generator
            async for part in parts:
                for data in reader.feed(part):
                    if data == DONE:
                        return
                    chunk = as_chunk(data, version, form)
                    if chunk is not None:
                        meter.hear(chunk)
                        finished = finished or _is_last(chunk)
                        yield _checked(chunk)
        for data in reader.close():
            chunk = None if data == DONE else as_chunk(data, version, form)
            finished = finished or data == DONE or (chunk is not None and _is_last(chunk))
            if chunk is not None:
                meter.hear(chunk)
                yield _checked(chunk)
        if not finished:
            raise upstream.AnswerBroke("The stream ended before the answer did.")
    finally:
        answer.close()
        await meter.close()


def _checked(chunk: dict[str, Any]) -> dict[str, Any]:
    if "error" in chunk:
        error = chunk["error"]
        raise upstream.AnswerBroke(str(error.get("message", error) if isinstance(error, dict) else error))
    return chunk


def _is_last(chunk: dict[str, Any]) -> bool:
    return any(choice.get("finish_reason") for choice in chunk.get("choices", []))


async def _as_sse(
    chunks: AsyncIterator[dict[str, Any]], answer: upstream.Answer, wants_usage: bool
) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            if chunk.get("choices") or wants_usage:
                yield sse(json.dumps(chunk, ensure_ascii=False, separators=(",", ":")))
        yield sse(DONE)
    except upstream.AnswerBroke as broke:
        # What was said has been sent and stays; this says that it is not all.
        log.warning("An answer broke off", extra={"why": str(broke)[:300]})
        yield sse(json.dumps(_broken().body))
    finally:
        answer.close()
        await asyncio.to_thread(hosting.touch)


async def _in_one_piece(chunks: AsyncIterator[dict[str, Any]], version: str, form: Form) -> Response:
    heard: list[dict[str, Any]] = []
    try:
        async for chunk in chunks:
            heard.append(chunk)
    except upstream.AnswerBroke as broke:
        log.warning("An answer broke off", extra={"why": str(broke)[:300]})
        error = _broken()
        # The words that came are paid for, and may be all that the person needs.
        return JSONResponse({**gather(heard, version, form), **error.body}, error.status)
    return JSONResponse(gather(heard, version, form))


def _broken() -> ApiError:
    return ApiError(
        502,
        "answer_broke_off",
        "The model stopped in the middle of its answer.",
        "What it said so far is kept. Ask again for the rest.",
    )


def _ready_version(asked: str) -> str:
    """Return the name that the endpoint knows the asked model by, when it is awake.

    Raises:
        ApiError: 409 before the first model, 404 for an unknown one, 503 where it has to be woken first.
    """
    pointer = versions.live()
    if pointer is None:
        raise ApiError(
            409,
            "no_model_yet",
            "There is no model yet: none has been trained and deployed.",
            "Add stories; a run starts by itself when the bucket has been quiet for a while.",
        )
    names = _names(pointer)
    if asked not in names:
        raise ApiError(
            404,
            "model_not_found",
            f"There is no model {asked!r} to ask.",
            f"Ask one of: {', '.join(names)}.",
        )
    state = hosting.state()
    if state.status != "awake":
        raise waking.wake()
    if not state.last_used_at or clock.seconds_since(state.last_used_at) > 60:
        hosting.touch()
    return pointer.version if asked == LIVE_NAME else asked


def _names(pointer: LivePointer) -> list[str]:
    names = [LIVE_NAME, pointer.version]
    previous = versions.get(pointer.previous) if pointer.previous else None
    base = environment.common().base_model
    if previous is not None and (previous.base_model, previous.base_revision) == (base.id, base.revision):
        names.append(previous.version)
    return [*names, BASE_NAME]
