"""The part of OpenAI's schemas that we check; the rest passes through to the model."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chat_api.forms import CHAT, COMPLETION, Form
from chat_api.numbers import WHOLE, Positive, Whole


class TextPart(BaseModel):
    """A piece of a message."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(extra="allow", strict=True)

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

    model_config = ConfigDict(strict=True)

    include_usage: bool = False


class AnswerRequest(BaseModel, ABC):
    """What a chat and a completion have in common. Fields not named here pass through to the model."""

    # Strict, as OpenAI's own API is: else true would be a temperature of 1.
    model_config = ConfigDict(extra="allow", strict=True)

    form: ClassVar[Form]
    named: ClassVar[str]
    """What messages to people call what is asked."""
    other: ClassVar[str]
    """The field that would make it the other kind of request."""

    model: str = "storyloom"
    """`storyloom` for the live version, a version (`v2`), or `base`."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: Annotated[int, Field(ge=1, le=4), WHOLE] | None = None
    seed: Whole | None = None
    stop: str | list[str] | None = None

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        # The model server goes by the fields: with both it would read the one that no limit was held to.
        if self.other in (self.model_extra or {}):
            raise ValueError(f"a {self.named} has no {self.other}")
        return self

    @property
    @abstractmethod
    def characters(self) -> int:
        """Length of all text."""

    @property
    def answer_tokens(self) -> int:
        """How long the answer may be, as far as the request says; 0 where it does not."""
        return self.max_tokens or 0

    @property
    def wants_usage(self) -> bool:
        """Whether a stream's reader asked for the chunk with the counts of tokens, which has no choices."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(AnswerRequest):
    """A chat completion request. Fields not named here pass through to the model."""

    form, named, other = CHAT, "chat", "prompt"

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: Positive | None = None

    @property
    def characters(self) -> int:
        """Length of all messages' text."""
        return sum(message.characters for message in self.messages)

    @property
    def answer_tokens(self) -> int:
        """How long the answer may be, as far as the request says; 0 where it does not."""
        return self.max_completion_tokens or self.max_tokens or 0


Text = Annotated[str, Field(min_length=1)]


class CompletionRequest(AnswerRequest):
    """A text that the model goes on with. Fields not named here pass through to the model."""

    form, named, other = COMPLETION, "prompt", "messages"

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]
    """One text; OpenAI's clients may send it as a list."""

    @property
    def characters(self) -> int:
        """Length of the text."""
        return len(self.prompt) if isinstance(self.prompt, str) else len(self.prompt[0])


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
