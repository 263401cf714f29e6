"""Answers of the model: how each format writes text, and the schemas for the API's description.

Answers pass through as the model wrote them; the schemas validate nothing.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict


class ResponseFormat(ABC):
    """How OpenAI writes the answer to a chat, or to a completion; everything else about them is the same."""

    id_prefix: ClassVar[str]
    answer_object: ClassVar[str]
    """The `object` of an answer in one piece."""
    chunk_object: ClassVar[str]
    """The `object` of a stream's chunk."""

    @abstractmethod
    def text_of(self, choice: dict[str, Any]) -> str:
        """Return the text that a chunk's choice adds."""

    @abstractmethod
    def delta(self, text: str) -> dict[str, Any]:
        """Return the fields with which a chunk's choice adds text."""

    @abstractmethod
    def message(self, text: str) -> dict[str, Any]:
        """Return the fields of the whole text in an answer in one piece."""


class _Chat(ResponseFormat):
    id_prefix, answer_object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def text_of(self, choice: dict[str, Any]) -> str:
        return (choice.get("delta") or {}).get("content") or ""

    def delta(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text}}

    def message(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}


class _Completion(ResponseFormat):
    id_prefix, answer_object, chunk_object = "cmpl", "text_completion", "text_completion"

    def text_of(self, choice: dict[str, Any]) -> str:
        return choice.get("text") or ""

    def delta(self, text: str) -> dict[str, Any]:
        return {"text": text, "logprobs": None}

    def message(self, text: str) -> dict[str, Any]:
        return {"text": text}


CHAT: ResponseFormat = _Chat()
COMPLETION: ResponseFormat = _Completion()


class _AnswerModel(BaseModel):
    # The model server may add fields.
    model_config = ConfigDict(extra="allow")

    id: str
    created: int
    """Seconds since 1970."""
    model: str
    """The version that wrote it."""


class TokenCounts(BaseModel):
    """The tokens of a request and its answer, as the model server counted them."""

    model_config = ConfigDict(extra="allow")

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatMessage(BaseModel):
    """The model's message."""

    role: Literal["assistant"]
    content: str


class ChatChoice(BaseModel):
    """One answer to a chat."""

    index: int
    message: ChatMessage
    logprobs: dict[str, Any] | None
    """`content`: each token, its log-probability and the most likely ones in its place, if requested."""
    finish_reason: str | None


class ChatAnswer(_AnswerModel):
    """An answer to a chat in one piece."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: TokenCounts | None = None


class CompletionChoice(BaseModel):
    """One text that continues the prompt."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: str | None


class CompletionAnswer(_AnswerModel):
    """A completion in one piece."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    usage: TokenCounts | None = None


class ChatChunk(_AnswerModel):
    """One event of a streamed chat."""

    object: Literal["chat.completion.chunk"]
    choices: list[dict[str, Any]]


class CompletionChunk(_AnswerModel):
    """One event of a streamed completion."""

    object: Literal["text_completion"]
    choices: list[dict[str, Any]]


def success_responses(answer: type[BaseModel], chunk: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe a route's answers: in one piece, or as events, each with a chunk, an error or the end."""
    contents = [chunk.model_json_schema(), {"type": "object", "required": ["error"]}]
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": contents}}
    event = {
        "type": "object",
        "required": ["data"],
        "anyOf": [{"properties": {"data": {"const": "[DONE]"}}}, {"properties": {"data": data}}],
    }
    return {200: {"model": answer, "content": {"text/event-stream": {"itemSchema": event}}}}
