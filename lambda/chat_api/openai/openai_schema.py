"""What a chat and a completion may ask for. No field that is not named here reaches the model.

Every field is one that both engines honour alike, within these bounds: vLLM, and the small server of one
machine. `tests/unit/endpoint` holds the two against this list.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from chat_api.openai.forms import CHAT, COMPLETION, ResponseFormat
from chat_api.openai.numbers import WHOLE, Positive


def _whole_characters(text: str) -> str:
    # JSON can hold half of a surrogate pair; no tokenizer reads one, and none can be written as UTF-8.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it has half of a surrogate pair, which is no character")
    return text


Unicode = Annotated[str, AfterValidator(_whole_characters)]
_NO_OTHER_KEYS = {"additionalProperties": False}
_NUMBERS = Field(allow_inf_nan=False)
Penalty = Annotated[float, Field(ge=-2, le=2), _NUMBERS]
StopString = Annotated[str, StringConstraints(min_length=1, max_length=100)]
TokenId = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,6})$")]
Bias = Annotated[float, Field(ge=-100, le=100), _NUMBERS]
Logprobs = Annotated[int, Field(ge=0, le=20), WHOLE]
"""How many of the likeliest tokens are told in each place; vLLM tells 20 at most."""
_GREATEST_SEED = 2**53 - 1
"""JSON has no greater whole number that every reader understands alike."""


class TextPart(BaseModel):
    """A piece of a message."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: Literal["text"]
    text: Unicode


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Unicode | list[TextPart]

    @property
    def characters(self) -> int:
        """Length of its text."""
        if isinstance(self.content, str):
            return len(self.content)
        return sum(len(part.text) for part in self.content)


class StreamOptions(BaseModel):
    """What a stream carries beside text."""

    model_config = ConfigDict(extra="allow", strict=True)

    include_usage: bool = False


class PlainText(BaseModel):
    """The only format of an answer."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: Literal["text"]


class AnswerRequest(BaseModel, ABC):
    """What a chat and a completion have in common. `request_fields` removes or refuses all other fields."""

    # Strict, as OpenAI's own API is: else true would be a temperature of 1.
    model_config = ConfigDict(extra="allow", strict=True)

    form: ClassVar[ResponseFormat]
    named: ClassVar[str]
    """What messages to people call what is asked."""
    other: ClassVar[str]
    """The field that would make it the other kind of request."""

    model: str = Field(default="storyloom", max_length=256)
    """`storyloom` for the live version, a version (`v2`), or `base`."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    temperature: Annotated[float, Field(ge=0, le=2), _NUMBERS] | None = None
    """0 always takes the likeliest token."""
    top_p: Annotated[float, Field(gt=0, le=1), _NUMBERS] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000), WHOLE] | None = None
    """-1 and 0 consider every token."""
    min_p: Annotated[float, Field(ge=0, le=1), _NUMBERS] | None = None
    n: Annotated[int, Field(ge=1, le=4), WHOLE] | None = None
    seed: Annotated[int, Field(ge=-_GREATEST_SEED, le=_GREATEST_SEED), WHOLE] | None = None
    """Repeats an answer on the same engine; -1 is like none."""
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=2), _NUMBERS] | None = None
    """1 changes nothing; a version has a default of its own."""
    logit_bias: (
        Annotated[dict[TokenId, Bias], Field(max_length=300, json_schema_extra=_NO_OTHER_KEYS)] | None
    ) = None
    """Added to the logits of tokens, by their ids."""
    ignore_eos: bool | None = None
    """Go on writing up to `max_tokens` although the model has come to an end."""
    response_format: PlainText | None = None
    user: str | None = Field(default=None, max_length=512)
    """Taken, because OpenAI's clients send it, and not used."""

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
    @abstractmethod
    def conflict(self) -> str | None:
        """Why its fields cannot be honoured together; None if they can."""

    def engine_fields(self) -> dict[str, Any]:
        """Return what the model is sent: the fields that were given, without those that only we use.

        A field that is null is left out: vLLM takes null for some fields and refuses it for others.
        """
        unused = {"stream", "stream_options", "response_format", "user"}
        return self.model_dump(exclude_unset=True, exclude_none=True, exclude=unused)

    def _greedy_conflict(self) -> str | None:
        if (self.n or 1) > 1 and self.temperature == 0:
            return "n must be 1 with a temperature of 0: every answer would be the same"
        return None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream's reader asked for the chunk with the counts of tokens, which has no choices."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(AnswerRequest):
    """A chat completion request."""

    form, named, other = CHAT, "chat", "prompt"

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    """Whether the answer tells the log-probability of each token."""
    top_logprobs: Logprobs | None = None

    @property
    def characters(self) -> int:
        """Length of all messages' text."""
        return sum(message.characters for message in self.messages)

    @property
    def answer_tokens(self) -> int:
        """How long the answer may be, as far as the request says; 0 where it does not."""
        return self.max_completion_tokens or self.max_tokens or 0

    @property
    def conflict(self) -> str | None:
        """Why its fields cannot be honoured together; None if they can."""
        if self.top_logprobs and not self.logprobs:
            return "top_logprobs needs logprobs to be true"
        return self._greedy_conflict()

    def engine_fields(self) -> dict[str, Any]:
        """Return what the model is sent, with one limit of the answer's length: the one that counts."""
        fields = super().engine_fields()
        if "max_completion_tokens" in fields:
            fields.pop("max_tokens", None)
        return fields


Text = Annotated[str, Field(min_length=1)]


class CompletionRequest(AnswerRequest):
    """A text that the model goes on with."""

    form, named, other = COMPLETION, "prompt", "messages"

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]
    """One text; OpenAI's clients may send it as a list."""
    logprobs: Logprobs | None = None
    """How many of the likeliest tokens the answer tells in each place, beside the one that was taken."""

    @property
    def conflict(self) -> str | None:
        """Why its fields cannot be honoured together; None if they can."""
        return self._greedy_conflict()

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
