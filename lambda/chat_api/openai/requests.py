"""What a chat and a completion may contain. No field that is not named here reaches the model.

Both engines, vLLM and the small server of one machine, honour every field alike within these bounds.
`tests/unit/endpoint` checks both against this list.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from chat_api.openai.answers import CHAT, COMPLETION, ResponseFormat
from chat_api.openai.strict_json import WHOLE, Positive


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
"""The number of most likely tokens to report in each place; vLLM reports at most 20."""
_GREATEST_SEED = 2**53 - 1
"""The greatest whole number that every JSON parser reads exactly."""


class TextPart(BaseModel):
    """A part of a message."""

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
    """What a stream contains in addition to text."""

    model_config = ConfigDict(extra="allow", strict=True)

    include_usage: bool = False


class PlainText(BaseModel):
    """The only supported format of an answer."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: Literal["text"]


class AnswerRequest(BaseModel, ABC):
    """The common fields of a chat and a completion; `request_fields` removes or refuses all others."""

    # Strict like OpenAI's own API; otherwise true would be a temperature of 1.
    model_config = ConfigDict(extra="allow", strict=True)

    answer_format: ClassVar[ResponseFormat]
    prompt_name: ClassVar[str]
    """The name of its text in messages to people."""
    excluded_field: ClassVar[str]
    """The field that only the other kind of request has."""

    model: str = Field(default="storyloom", max_length=256)
    """`storyloom` for the live version, a version (`v2`), or `base`."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    temperature: Annotated[float, Field(ge=0, le=2), _NUMBERS] | None = None
    """0 always takes the most likely token."""
    top_p: Annotated[float, Field(gt=0, le=1), _NUMBERS] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000), WHOLE] | None = None
    """-1 and 0 consider every token."""
    min_p: Annotated[float, Field(ge=0, le=1), _NUMBERS] | None = None
    n: Annotated[int, Field(ge=1, le=4), WHOLE] | None = None
    seed: Annotated[int, Field(ge=-_GREATEST_SEED, le=_GREATEST_SEED), WHOLE] | None = None
    """Repeats an answer on the same engine; -1 is the same as none."""
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
    """Continue up to `max_tokens` although the model has ended its answer."""
    response_format: PlainText | None = None
    user: str | None = Field(default=None, max_length=512)
    """Accepted because OpenAI's clients send it, and not used."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        # The model server decides by the fields: with both, it would read the one that was not checked.
        if self.excluded_field in (self.model_extra or {}):
            raise ValueError(f"a {self.prompt_name} has no {self.excluded_field}")
        return self

    @property
    @abstractmethod
    def characters(self) -> int:
        """Length of all text."""

    @property
    def answer_tokens(self) -> int:
        """The greatest length of the answer in tokens; 0 if the request does not limit it."""
        return self.max_tokens or 0

    @property
    @abstractmethod
    def conflict(self) -> str | None:
        """Why its fields exclude each other; None if they do not."""

    def engine_fields(self) -> dict[str, Any]:
        """Return what is sent to the model server: the given fields, without those that only the API uses.

        A field that is null is left out: vLLM accepts null for some fields and refuses it for others.
        """
        unused = {"stream", "stream_options", "response_format", "user"}
        return self.model_dump(exclude_unset=True, exclude_none=True, exclude=unused)

    def _greedy_conflict(self) -> str | None:
        if (self.n or 1) > 1 and self.temperature == 0:
            return "n must be 1 with a temperature of 0: every answer would be the same"
        return None

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for the chunk with the token counts, which has no choices."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(AnswerRequest):
    """A chat completion request."""

    answer_format, prompt_name, excluded_field = CHAT, "chat", "prompt"

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    """Whether the answer reports the log-probability of each token."""
    top_logprobs: Logprobs | None = None

    @property
    def characters(self) -> int:
        """Length of all messages' text."""
        return sum(message.characters for message in self.messages)

    @property
    def answer_tokens(self) -> int:
        """The greatest length of the answer in tokens; 0 if the request does not limit it."""
        return self.max_completion_tokens or self.max_tokens or 0

    @property
    def conflict(self) -> str | None:
        """Why its fields exclude each other; None if they do not."""
        if self.top_logprobs and not self.logprobs:
            return "top_logprobs needs logprobs to be true"
        return self._greedy_conflict()

    def engine_fields(self) -> dict[str, Any]:
        """Return what is sent to the model server, with the one limit of the answer's length that applies."""
        fields = super().engine_fields()
        if "max_completion_tokens" in fields:
            fields.pop("max_tokens", None)
        return fields


Text = Annotated[str, Field(min_length=1)]


class CompletionRequest(AnswerRequest):
    """A text that the model continues."""

    answer_format, prompt_name, excluded_field = COMPLETION, "prompt", "messages"

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]
    """One text; OpenAI's clients may send it as a list."""
    logprobs: Logprobs | None = None
    """The number of most likely tokens to report in each place, beside the chosen one."""

    @property
    def conflict(self) -> str | None:
        """Why its fields exclude each other; None if they do not."""
        return self._greedy_conflict()

    @property
    def characters(self) -> int:
        """Length of the text."""
        return len(self.prompt) if isinstance(self.prompt, str) else len(self.prompt[0])


class ModelCard(BaseModel):
    """One model that answers requests."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Seconds since 1970."""
    owned_by: str = "storyloom"


class ModelList(BaseModel):
    """The models that answer requests."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
