"""What sets the answer to a chat and a completion of a text apart. All else about them is the same."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar


class ResponseFormat(ABC):
    """How OpenAI writes one kind of answer."""

    id_prefix: ClassVar[str]
    whole: ClassVar[str]
    """The `object` of an answer in one piece."""
    chunk: ClassVar[str]
    """The `object` of an event of a stream."""

    @abstractmethod
    def text_of(self, choice: dict[str, Any]) -> str:
        """Read the text that a chunk's choice adds."""

    @abstractmethod
    def piece(self, text: str) -> dict[str, Any]:
        """Write a piece of text as a chunk's choice has it."""

    @abstractmethod
    def said(self, text: str) -> dict[str, Any]:
        """Write the whole text as the choice of an answer in one piece has it."""


class _Chat(ResponseFormat):
    id_prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def text_of(self, choice: dict[str, Any]) -> str:
        return (choice.get("delta") or {}).get("content") or ""

    def piece(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text}}

    def said(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}


class _Completion(ResponseFormat):
    id_prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    def text_of(self, choice: dict[str, Any]) -> str:
        return choice.get("text") or ""

    def piece(self, text: str) -> dict[str, Any]:
        return {"text": text, "logprobs": None}

    def said(self, text: str) -> dict[str, Any]:
        return {"text": text}


CHAT: ResponseFormat = _Chat()
COMPLETION: ResponseFormat = _Completion()


def cut(chunk: dict[str, Any], indices: set[int], form: ResponseFormat) -> dict[str, Any]:
    """Write the last chunk of an answer that ends for its length in time.

    Args:
        chunk: the one before.
        indices: of the answer's choices.
        form: what kind of answer it is.
    """
    choices = [{"index": index, **form.piece(""), "finish_reason": "length"} for index in sorted(indices)]
    return {**chunk, "choices": choices}


def gather(chunks: list[dict[str, Any]], model: str, form: ResponseFormat) -> dict[str, Any]:
    """Put the chunks of a stream together to one answer."""
    texts: dict[int, str] = {}
    reasons: dict[int, str | None] = {}
    logprobs: dict[int, dict[str, list[Any]]] = {}
    whole: dict[str, Any] = {"id": form.id_prefix, "object": form.whole, "created": 0, "model": model}
    for chunk in chunks:
        whole |= {
            name: chunk[name]
            for name in ("id", "created", "model", "system_fingerprint", "usage")
            if chunk.get(name)
        }
        for choice in chunk.get("choices", []):
            index = choice.get("index", 0)
            texts[index] = texts.get(index, "") + form.text_of(choice)
            reasons[index] = choice.get("finish_reason") or reasons.get(index)
            for name, values in (choice.get("logprobs") or {}).items():
                if isinstance(values, list):
                    logprobs.setdefault(index, {}).setdefault(name, []).extend(values)
    choices = [
        {
            "index": index,
            **form.said(texts[index]),
            "logprobs": logprobs.get(index),
            "finish_reason": reasons[index],
        }
        for index in sorted(texts)
    ]
    return {**whole, "choices": choices}
