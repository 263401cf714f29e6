"""OpenAI's chats and completions, as far as the endpoint speaks them."""

import time
import uuid
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class TextPart(BaseModel):
    """A piece of a message's content."""

    type: str
    text: str = ""


class Message(BaseModel):
    """One turn of the chat."""

    role: str
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """The content as one string."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    """What a stream carries beside text."""

    include_usage: bool = False


class AnswerRequest(BaseModel):
    """What a chat and a completion have in common; fields that only other engines know go unread."""

    model_config = ConfigDict(extra="ignore")

    model: str = "base"
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    n: int = Field(default=1, ge=1, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """All strings that end the answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that has the counts of tokens and no choices."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def answer_tokens(self) -> int | None:
        """How long the answer may be; None for as long as there is room."""
        return self.max_tokens


class ChatRequest(AnswerRequest):
    """A chat completion request."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)

    @property
    def answer_tokens(self) -> int | None:
        """How long the answer may be; None for as long as there is room."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(AnswerRequest):
    """A text to go on with."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    # OpenAI's own default, and vLLM's.
    max_tokens: int | None = Field(default=16, ge=1)

    @property
    def text(self) -> str:
        """The text itself."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


class ApiError(Exception):
    """An answer other than 200, in OpenAI's form."""

    def __init__(self, status: int, code: str, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.kind = kind

    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        return {"error": {"message": str(self), "type": self.kind, "code": self.code}}


class Envelope:
    """What all chunks of an answer have in common."""

    id_prefix, whole_object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, model: str, fingerprint: str) -> None:
        self._common = {
            "id": f"{self.id_prefix}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }

    def opening(self) -> list[dict[str, Any]]:
        """The events of a stream before its text."""
        return [self._chunk({"delta": {"role": "assistant", "content": ""}})]

    def piece(self, text: str) -> dict[str, Any]:
        """The event of a stream with a piece of text."""
        return self._chunk({"delta": {"content": text}})

    def ending(self, finish_reason: str) -> dict[str, Any]:
        """The event of a stream that says why the text ends."""
        return self._chunk({"delta": {}}, finish_reason)

    def usage_chunk(self, prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
        """The last event of a stream whose reader asked for the counts."""
        counts = usage(prompt_tokens, completion_tokens)
        return {**self._common, "object": self.chunk_object, "choices": [], "usage": counts}

    def whole(
        self, text: str, finish_reason: str, prompt_tokens: int, completion_tokens: int
    ) -> dict[str, Any]:
        """The answer to a request without streaming."""
        choice = self._choice(self._said(text), finish_reason)
        counts = usage(prompt_tokens, completion_tokens)
        return {**self._common, "object": self.whole_object, "choices": [choice], "usage": counts}

    def _said(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}

    def _chunk(self, said: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {**self._common, "object": self.chunk_object, "choices": [self._choice(said, finish_reason)]}

    @staticmethod
    def _choice(said: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        return {"index": 0, **said, "logprobs": None, "finish_reason": finish_reason}


class CompletionEnvelope(Envelope):
    """The same of a completion, which has text where a chat has messages."""

    id_prefix, whole_object, chunk_object = "cmpl", "text_completion", "text_completion"

    def opening(self) -> list[dict[str, Any]]:
        """Nothing: nobody speaks."""
        return []

    def piece(self, text: str) -> dict[str, Any]:
        """The event of a stream with a piece of text."""
        return self._chunk({"text": text})

    def ending(self, finish_reason: str) -> dict[str, Any]:
        """The event of a stream that says why the text ends."""
        return self._chunk({"text": ""}, finish_reason)

    def _said(self, text: str) -> dict[str, Any]:
        return {"text": text}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """OpenAI's counts."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
