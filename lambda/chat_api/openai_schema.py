"""The part of OpenAI's chat completion schema that we check; the rest passes through to the model."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class TextPart(BaseModel):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def characters(self) -> int:
        """Length of its text."""
        if isinstance(self.content, str):
            return len(self.content)
        return sum(len(part.text) for part in self.content)


class StreamOptions(BaseModel):
    """What a stream carries beside text."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A chat completion request. Fields not named here pass through to the model."""

    model_config = ConfigDict(extra="allow")

    model: str = "storyloom"
    """`storyloom` for the live version, a version (`v2`), or `base`."""
    messages: list[Message] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=4)
    seed: int | None = None
    stop: str | list[str] | None = None

    @property
    def characters(self) -> int:
        """Length of all messages' text."""
        return sum(message.characters for message in self.messages)

    @property
    def answer_tokens(self) -> int:
        """How long the answer may be, as far as the request says; 0 where it does not."""
        return self.max_completion_tokens or self.max_tokens or 0

    @property
    def wants_usage(self) -> bool:
        """Whether a stream's reader asked for the chunk with the counts of tokens, which has no choices."""
        return self.stream_options is not None and self.stream_options.include_usage


class ModelCard(BaseModel):
    """One model that can be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Seconds since 1970."""
    owned_by: str = "storyloom"


class ModelList(BaseModel):
    """The models that can be asked."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


def gather(chunks: list[dict[str, Any]], model: str) -> dict[str, Any]:
    """Put the chunks of a stream together to one chat completion."""
    choices: dict[int, dict[str, Any]] = {}
    whole: dict[str, Any] = {"id": "chatcmpl", "object": "chat.completion", "created": 0, "model": model}
    for chunk in chunks:
        whole |= {
            name: chunk[name]
            for name in ("id", "created", "model", "system_fingerprint", "usage")
            if chunk.get(name)
        }
        for part in chunk.get("choices", []):
            choice = choices.setdefault(
                part.get("index", 0),
                {
                    "index": part.get("index", 0),
                    "message": {"role": "assistant", "content": ""},
                    "finish_reason": None,
                },
            )
            choice["message"]["content"] += (part.get("delta") or {}).get("content") or ""
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
    return {**whole, "choices": [choices[index] for index in sorted(choices)]}
