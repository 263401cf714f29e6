"""OpenAI's routes `/v1/models`, `/v1/chat/completions` and `/v1/completions`, and cancelling an answer."""

import uuid

from aws_lambda_powertools import Logger
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from chat_api.dependencies import keep_alive, request_headers
from chat_api.dependencies.identity import RequireCaller, RequireCancelScope, RequireChatScope
from chat_api.dependencies.request_headers import AnswerId, StrictFields, WaitSeconds
from chat_api.dependencies.responses import error_response, error_responses
from chat_api.errors import ApiError
from chat_api.openai import request_fields
from chat_api.openai.answers import (
    ChatAnswer,
    ChatChunk,
    CompletionAnswer,
    CompletionChunk,
    success_responses,
)
from chat_api.openai.requests import AnswerRequest, ChatRequest, CompletionRequest, ModelCard, ModelList
from chat_api.services import generation, limits, model_access
from chat_api.services.generation import Caller
from chat_api.services.upstream import ANSWER_ID_HEADER, CancellationWatch
from shared import clock
from shared.answers import cancellations
from shared.models import versions

log = Logger(service="chat_api")
router = APIRouter(prefix="/v1", tags=["OpenAI"])

_ERRORS = error_responses(402, 404, 409, 413, 422, 502, 503)


class CancelledAnswer(BaseModel):
    """An answer that ends now, or has ended."""

    answer_id: uuid.UUID
    message: str


@router.get("/models", responses=error_responses())
def list_models(user: RequireChatScope) -> ModelList:
    """List the models: the live version as `storyloom`, each loaded version, and the base model.

    If the base model can only be hosted merged with the adapter, the live version is the only model.
    """
    pointer = versions.live()
    if pointer is None:
        return ModelList(data=[])
    created = int(clock.instant(pointer.updated_at).timestamp())
    return ModelList(
        data=[ModelCard(id=name, created=created) for name in model_access.loaded_names(pointer)]
    )


@router.post(
    "/chat/completions", response_model=None, responses=_ERRORS | success_responses(ChatAnswer, ChatChunk)
)
async def create_chat_completion(
    request: ChatRequest,
    caller: RequireCaller,
    wait: WaitSeconds,
    answer_id: AnswerId,
    strict: StrictFields,
) -> Response:
    """Answer a chat. With `stream`, server-sent events; they end with `[DONE]`, or with an `error` event."""
    return await _respond(request, caller, wait, CancellationWatch(answer_id, caller.sub), strict)


@router.post(
    "/completions",
    response_model=None,
    responses=_ERRORS | success_responses(CompletionAnswer, CompletionChunk),
)
async def create_completion(
    request: CompletionRequest,
    caller: RequireCaller,
    wait: WaitSeconds,
    answer_id: AnswerId,
    strict: StrictFields,
) -> Response:
    """Continue a text, without a chat around it. With `stream`, server-sent events as for a chat."""
    return await _respond(request, caller, wait, CancellationWatch(answer_id, caller.sub), strict)


@router.post("/answers/{answer_id}/cancel", status_code=202, responses=error_responses(404, 422))
def cancel_answer(answer_id: uuid.UUID, user: RequireCancelScope) -> CancelledAnswer:
    """Cancel an answer of yours by its `X-Answer-Id`: its text so far counts, and no more is written.

    This also cancels an answer that has not begun. Cancelling again, or an answer that has ended, changes
    nothing.
    """
    if not cancellations.mark_cancelled(str(answer_id), user.sub):
        raise ApiError(
            "not_found",
            f"You have no answer {answer_id}.",
            f"Send the {ANSWER_ID_HEADER} of the response, with the sign-in or key of its request.",
        )
    return CancelledAnswer(answer_id=answer_id, message=f"Answer {answer_id} ends within two seconds.")


async def _respond(
    request: AnswerRequest, caller: Caller, wait_seconds: int, watch: CancellationWatch, strict: bool
) -> Response:
    ignored = request_fields.remove_unknown_fields(request, strict=strict)
    limits.check_request(request, limits.context_tokens())
    if not request.stream:
        response = await keep_alive.json_in_time(_json_response(request, caller, watch))
    elif wait_seconds:
        response = keep_alive.event_stream(
            await generation.waiting_events(request, caller, wait_seconds, watch)
        )
    else:
        events = generation.answer_events(request, caller, watch)
        response = keep_alive.event_stream(await keep_alive.events_in_time(events))
    response.headers[ANSWER_ID_HEADER] = watch.answer_id
    request_headers.report_ignored_fields(response, ignored)
    return response


async def _json_response(request: AnswerRequest, caller: Caller, watch: CancellationWatch) -> Response:
    try:
        return JSONResponse(await generation.generate_answer(request, caller, watch))
    except ApiError as error:
        if error.detail.answer is None:
            raise
        # An answer that has begun has an id, which the response's headers name.
        return error_response(error)
