"""OpenAI's chats and completions, as far as the endpoint speaks them."""

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from local.endpoint_server.sampling import TokenLogprobs

MOST_LOGPROBS = 20
"""vLLM's own limit of the likeliest tokens in each place."""
StopString = Annotated[str, StringConstraints(min_length=1)]


class EngineTextPart(BaseModel):
    """A piece of a message's content."""

    type: str
    text: str = ""


class EngineMessage(BaseModel):
    """One turn of the chat."""

    role: str
    content: str | list[EngineTextPart] | None = None

    @property
    def text(self) -> str:
        """The content as one string."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class EngineStreamOptions(BaseModel):
    """What a stream carries beside text."""

    include_usage: bool = False


class EngineRequest(BaseModel, ABC):
    """What a chat and a completion have in common. A field that this engine does not honour is refused."""

    model_config = ConfigDict(extra="forbid")

    model: str = "base"
    stream: bool = False
    stream_options: EngineStreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    logit_bias: dict[int, float] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = Field(default=None, ge=1)
    n: int = Field(default=1, ge=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = None

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

    @property
    @abstractmethod
    def top_tokens(self) -> int | None:
        """How many of the likeliest tokens each position reports; None to report no log-probabilities."""

    @model_validator(mode="after")
    def _is_not_greedy_several_times(self) -> Self:
        if self.n > 1 and self.temperature == 0:
            raise ValueError(f"n must be 1 when using greedy sampling, got {self.n}")
        return self


class EngineChatRequest(EngineRequest):
    """A chat completion request."""

    messages: list[EngineMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_LOGPROBS)

    @property
    def top_tokens(self) -> int | None:
        """How many of the likeliest tokens each position reports; None to report no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @model_validator(mode="after")
    def _top_needs_logprobs(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("when using top_logprobs, logprobs must be set to true")
        return self

    @property
    def answer_tokens(self) -> int | None:
        """How long the answer may be; None for as long as there is room."""
        return self.max_completion_tokens or self.max_tokens


class EngineCompletionRequest(EngineRequest):
    """A text to go on with."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    # OpenAI's own default, and vLLM's.
    max_tokens: int | None = Field(default=16, ge=1)
    logprobs: int | None = Field(default=None, ge=0, le=MOST_LOGPROBS)

    @property
    def top_tokens(self) -> int | None:
        """How many of the likeliest tokens each position reports; None to report no log-probabilities."""
        return self.logprobs

    @property
    def text(self) -> str:
        """The text itself."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


class EngineError(Exception):
    """An answer other than 200, in OpenAI's form."""

    def __init__(self, status: int, code: str, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.kind = kind

    def body(self) -> dict[str, Any]:
        """Return the answer's JSON."""
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

    def opening(self, index: int) -> list[dict[str, Any]]:
        """Return the events of a stream before the text of one of its answers."""
        return [self._chunk(self._choice(index, {"delta": {"role": "assistant", "content": ""}}))]

    def piece(self, index: int, text: str, logprobs: Sequence[TokenLogprobs] = ()) -> dict[str, Any]:
        """Return the event of a stream with a piece of text."""
        return self._chunk(self._choice(index, self._added(text), logprobs))

    def ending(self, index: int, finish_reason: str) -> dict[str, Any]:
        """Return the event of a stream that has the reason for which an answer ended."""
        return self._chunk(self._choice(index, self._added(""), finish_reason=finish_reason))

    def usage_chunk(self, prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
        """Return the last event of a stream whose request asked for the counts of tokens."""
        counts = usage(prompt_tokens, completion_tokens)
        return {**self._common, "object": self.chunk_object, "choices": [], "usage": counts}

    def whole(
        self, choices: list[dict[str, Any]], prompt_tokens: int, completion_tokens: int
    ) -> dict[str, Any]:
        """Return the answer to a request without streaming."""
        counts = usage(prompt_tokens, completion_tokens)
        return {**self._common, "object": self.whole_object, "choices": choices, "usage": counts}

    def choice(
        self, index: int, text: str, finish_reason: str, logprobs: Sequence[TokenLogprobs]
    ) -> dict[str, Any]:
        """Return one of the answers to a request without streaming."""
        return self._choice(index, self._said(text), logprobs, finish_reason)

    def _said(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}

    def _added(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}}

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {**self._common, "object": self.chunk_object, "choices": [choice]}

    def _choice(
        self,
        index: int,
        said: dict[str, Any],
        logprobs: Sequence[TokenLogprobs] = (),
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        reported = self._logprobs(index, logprobs) if logprobs else None
        return {"index": index, **said, "logprobs": reported, "finish_reason": finish_reason}

    def _logprobs(self, index: int, logprobs: Sequence[TokenLogprobs]) -> dict[str, Any]:
        def entry(token: str, logprob: float) -> dict[str, Any]:
            return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

        content = [
            {**entry(one.token, one.logprob), "top_logprobs": [entry(*other) for other in one.likeliest]}
            for one in logprobs
        ]
        return {"content": content}


class CompletionEnvelope(Envelope):
    """What all chunks of a completion have in common: it has text instead of a chat's messages."""

    id_prefix, whole_object, chunk_object = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, fingerprint: str) -> None:
        super().__init__(model, fingerprint)
        self._offsets: dict[int, int] = {}
        """Offset of the next token in the text of each answer."""

    def opening(self, index: int) -> list[dict[str, Any]]:
        """Return no event: a completion has no role."""
        return []

    def _said(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _added(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _logprobs(self, index: int, logprobs: Sequence[TokenLogprobs]) -> dict[str, Any]:
        offsets: list[int] = []
        for one in logprobs:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(one.token)
        return {
            "text_offset": offsets,
            "tokens": [one.token for one in logprobs],
            "token_logprobs": [one.logprob for one in logprobs],
            # The token that was taken is reported too, even if it is not among the likeliest.
            "top_logprobs": [{**dict(one.likeliest), one.token: one.logprob} for one in logprobs],
        }


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Return the counts of tokens in OpenAI's form."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
