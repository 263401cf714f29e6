"""The HTTP side of the endpoint: SageMaker's `/ping` and `/invocations`, and vLLM's `/v1` beside them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.types import ASGIApp

from local.endpoint_server.engine import Engine, GenerationTask, TokenPiece
from local.endpoint_server.loaded_models import LoadedModel, LoadedModels
from local.endpoint_server.sampling import Sampling
from local.endpoint_server.schema import (
    CompletionEnvelope,
    EngineChatRequest,
    EngineCompletionRequest,
    EngineError,
    EngineRequest,
    Envelope,
)


def create_endpoint_app(models: LoadedModels, middleware: Callable[..., ASGIApp] | None = None) -> FastAPI:
    """Return the application over loaded models, with the engine that writes its answers.

    Args:
        models: loaded.
        middleware: ASGI middleware of the bundle's own, if it brings some.
    """
    engine = Engine(models)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.stop)

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    if middleware is not None:
        app.add_middleware(middleware)
    service = AnswerService(models, engine)

    @app.exception_handler(EngineError)
    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, EngineError)  # noqa: S101 (registered for nothing else)
        return JSONResponse(error.body(), error.status)

    @app.get("/ping")
    async def ping() -> Response:
        return JSONResponse({"active": engine.active})

    @app.get("/v1/models")
    async def list_models() -> Response:
        cards = [{"id": name, "object": "model", "owned_by": "storyloom"} for name in models.by_name]
        return JSONResponse({"object": "list", "data": cards})

    for path in ("/invocations", "/v1/chat/completions", "/v1/completions"):
        app.add_api_route(path, service.complete, methods=["POST"])
    return app


class AnswerService:
    """Answers chats and completions, distinguished by the body's fields as with vLLM's `/invocations`."""

    def __init__(self, models: LoadedModels, engine: Engine) -> None:
        self._models = models
        self._engine = engine

    async def complete(self, request: Request) -> Response:
        """Check the request, hand it to the engine, and answer whole or as server-sent events.

        Raises:
            EngineError: 400 for a wrong or too long request, 404 for an unknown model.
        """
        asked = _parse(await request.body())
        model = self._model(asked.model)
        prompt, sampling = self._prompt(asked), self._sampling(asked)
        answer = EngineAnswer(self._engine, model.name, prompt, sampling, asked.n)
        envelope = _envelope(asked, model)
        if asked.stream:
            events = _events(answer, envelope, request, asked.wants_usage)
            return StreamingResponse(events, media_type="text/event-stream")
        return await _whole(answer, envelope, request)

    def _model(self, name: str) -> LoadedModel:
        try:
            return self._models.by_name[name]
        except KeyError:
            known = ", ".join(self._models.by_name)
            raise EngineError(
                404, "model_not_found", f"The model `{name[:60]}` is not loaded here. Loaded: {known}."
            ) from None

    def _prompt(self, asked: EngineChatRequest | EngineCompletionRequest) -> list[int]:
        prompt = (
            self._chat_tokens(asked) if isinstance(asked, EngineChatRequest) else self._text_tokens(asked)
        )
        if not prompt:
            raise EngineError(
                400, "invalid_request", "The prompt has no text: there is nothing to go on with."
            )
        if len(prompt) >= self._models.max_length:
            raise EngineError(
                400,
                "context_length_exceeded",
                f"This model's maximum context length is {self._models.max_length} tokens, "
                f"but the prompt has {len(prompt)}. Shorten it.",
            )
        return prompt

    def _text_tokens(self, completion: EngineCompletionRequest) -> list[int]:
        tokens: list[int] = self._models.tokenizer(completion.text)["input_ids"]
        return tokens

    def _chat_tokens(self, chat: EngineChatRequest) -> list[int]:
        tokenizer = self._models.tokenizer
        if not tokenizer.chat_template:
            raise EngineError(400, "no_chat_template", "The base model has no chat template: it cannot chat.")
        messages = [{"role": message.role, "content": message.text} for message in chat.messages]
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception:  # templates raise any error for unknown roles or orders
            raise EngineError(
                400, "invalid_messages", "The model's chat template does not take these roles in this order."
            ) from None
        tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def _sampling(self, asked: EngineRequest) -> Sampling:
        models, penalty = self._models, asked.repetition_penalty
        self._check_tokens(asked.logit_bias or {})
        return Sampling(
            temperature=models.default_temperature if asked.temperature is None else asked.temperature,
            top_p=models.default_top_p if asked.top_p is None else asked.top_p,
            repetition_penalty=models.repetition_penalty if penalty is None else penalty,
            max_tokens=asked.answer_tokens or models.max_length,
            stop=asked.stop_strings,
            seed=asked.seed,
            top_k=asked.top_k or 0,
            min_p=asked.min_p or 0.0,
            frequency_penalty=asked.frequency_penalty or 0.0,
            presence_penalty=asked.presence_penalty or 0.0,
            logit_bias={token: max(-100.0, min(100.0, b)) for token, b in (asked.logit_bias or {}).items()},
            ignore_end=asked.ignore_eos,
            top_tokens=asked.top_tokens,
        )

    def _check_tokens(self, tokens: Iterable[int]) -> None:
        size = self._models.vocabulary
        outside = [token for token in tokens if not 0 <= token < size]
        if outside:
            raise EngineError(
                400,
                "invalid_request",
                f"logit_bias has tokens {outside[:5]} outside the vocabulary, which has {size}.",
            )


class EngineAnswer:
    """The pieces of the answers to one request, carried from the engine's thread to this event loop."""

    def __init__(self, engine: Engine, model: str, prompt: list[int], sampling: Sampling, count: int) -> None:
        self._pieces: asyncio.Queue[tuple[int, TokenPiece]] = asyncio.Queue()
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            GenerationTask(model, prompt, self._of_answer(sampling, index), partial(self._deliver, index))
            for index in range(count)
        ]
        self.completion_tokens = 0
        """Tokens of the answers that have ended."""

    @staticmethod
    def _of_answer(sampling: Sampling, index: int) -> Sampling:
        # Each answer has a seed of its own, as in vLLM; -1 is none.
        if sampling.seed is None or sampling.seed == -1:
            return sampling
        return replace(sampling, seed=sampling.seed + index)

    def _deliver(self, index: int, piece: TokenPiece) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server is going down
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, (index, piece))

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self._tasks[0].prompt)

    @property
    def indices(self) -> range:
        """The numbers of the answers."""
        return range(len(self._tasks))

    async def pieces(self, request: Request) -> AsyncIterator[tuple[int, TokenPiece]]:
        """Yield all pieces with their answer's number; stop the engine's work if the client disconnects.

        The last piece of an answer has a finish reason. An error ends them all.
        """
        watcher = asyncio.create_task(self._cancel_on_disconnect(request))
        for task in self._tasks:
            self._engine.submit(task)
        unfinished = len(self._tasks)
        try:
            while unfinished:
                index, piece = await self._pieces.get()
                if piece.finish_reason is not None:
                    self.completion_tokens += piece.completion_tokens
                    unfinished -= 1
                yield index, piece
                if piece.finish_reason == "error":
                    return
        finally:
            self._cancel()
            watcher.cancel()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _cancel_on_disconnect(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self._cancel()


async def _whole(answer: EngineAnswer, envelope: Envelope, request: Request) -> Response:
    pieces: dict[int, list[TokenPiece]] = {index: [] for index in answer.indices}
    async for index, piece in answer.pieces(request):
        if piece.finish_reason == "error":
            raise EngineError(500, "model_failed", piece.error, kind="server_error")
        pieces[index].append(piece)
    choices = [
        envelope.choice(
            index,
            "".join(piece.text for piece in parts),
            parts[-1].finish_reason or "stop",
            [one for piece in parts for one in piece.logprobs],
        )
        for index, parts in pieces.items()
    ]
    return JSONResponse(envelope.whole(choices, answer.prompt_tokens, answer.completion_tokens))


async def _events(
    answer: EngineAnswer, envelope: Envelope, request: Request, wants_usage: bool
) -> AsyncIterator[bytes]:
    for index in answer.indices:
        for chunk in envelope.opening(index):
            yield _event(chunk)
    async for index, piece in answer.pieces(request):
        if piece.finish_reason == "error":
            yield _event(EngineError(500, "model_failed", piece.error, kind="server_error").body())
            return
        if piece.text or piece.logprobs:
            yield _event(envelope.piece(index, piece.text, piece.logprobs))
        if piece.finish_reason is not None:
            yield _event(envelope.ending(index, piece.finish_reason))
    if wants_usage:
        yield _event(envelope.usage_chunk(answer.prompt_tokens, answer.completion_tokens))
    yield b"data: [DONE]\n\n"


def _event(content: dict[str, object]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def _envelope(asked: EngineRequest, model: LoadedModel) -> Envelope:
    kind = CompletionEnvelope if isinstance(asked, EngineCompletionRequest) else Envelope
    return kind(model.name, model.fingerprint)


def _parse(body: bytes) -> EngineChatRequest | EngineCompletionRequest:
    try:
        if _is_completion(body):
            return EngineCompletionRequest.model_validate_json(body)
        return EngineChatRequest.model_validate_json(body)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}" for problem in error.errors()
        )
        raise EngineError(
            400, "invalid_request", f"Neither a chat nor a completion request: {problems}."
        ) from None


def _is_completion(body: bytes) -> bool:
    try:
        fields = json.loads(body)
    except ValueError:
        return False
    return isinstance(fields, dict) and "prompt" in fields and "messages" not in fields
