"""What answers look like, for the API's description: they pass through as the model wrote them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    # The model server may say more than this.
    model_config = ConfigDict(extra="allow")

    id: str
    created: int
    """Seconds since 1970."""
    model: str
    """The version that wrote it."""


class TokenCounts(BaseModel):
    """What an answer took, as the model counted."""

    model_config = ConfigDict(extra="allow")

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatMessage(BaseModel):
    """What the model said."""

    role: Literal["assistant"]
    content: str


class ChatChoice(BaseModel):
    """One answer to a chat."""

    index: int
    message: ChatMessage
    logprobs: dict[str, Any] | None
    """`content`: a token, its log-probability and the likeliest in its place, if the request asked for it."""
    finish_reason: str | None


class ChatAnswer(_Answer):
    """An answer to a chat in one piece."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: TokenCounts | None = None


class CompletionChoice(BaseModel):
    """One text that goes on with the prompt."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: str | None


class CompletionAnswer(_Answer):
    """A completion in one piece."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    usage: TokenCounts | None = None


class ChatChunk(_Answer):
    """One event of a streamed chat."""

    object: Literal["chat.completion.chunk"]
    choices: list[dict[str, Any]]


class CompletionChunk(_Answer):
    """One event of a streamed completion."""

    object: Literal["text_completion"]
    choices: list[dict[str, Any]]


def described(whole: type[BaseModel], chunk: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe a route's answers: in one piece, and as events, each with a chunk, an error or the end."""
    said = [chunk.model_json_schema(), {"type": "object", "required": ["error"]}]
    written = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": said}}
    event = {
        "type": "object",
        "required": ["data"],
        "anyOf": [{"properties": {"data": {"const": "[DONE]"}}}, {"properties": {"data": written}}],
    }
    return {200: {"model": whole, "content": {"text/event-stream": {"itemSchema": event}}}}
