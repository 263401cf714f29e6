"""Read the endpoint's byte stream as events, and write the API's own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chat_api.openai.answers import ResponseFormat

DONE = "[DONE]"


class EventReader:
    """Reads vLLM's server-sent events and LMI's JSON lines from byte chunks that break anywhere.

    A SageMaker payload part may end inside an event, a line, or a character; only whole lines are read.
    """

    def __init__(self) -> None:
        """Start with nothing read."""
        self._incomplete = b""
        self._data: list[str] = []

    def feed(self, part: bytes) -> Iterator[str]:
        """Take the next bytes; yields the data of each event that they complete."""
        *lines, self._incomplete = (self._incomplete + part).split(b"\n")
        for line in lines:
            yield from self._line(line)

    def close(self) -> Iterator[str]:
        """Yield the data of a last event that lacks nothing but its line end."""
        rest, self._incomplete = self._incomplete, b""
        yield from self._line(rest)
        yield from self._line(b"")

    def _line(self, raw: bytes) -> Iterator[str]:
        line = raw.removesuffix(b"\r").decode("utf-8", errors="replace")
        if not line:
            if self._data:
                yield "\n".join(self._data)
                self._data.clear()
        elif line.startswith("{"):
            yield line
        elif line.startswith("data:"):
            self._data.append(line.removeprefix("data:").removeprefix(" "))
        # Comments and the fields event, id and retry carry nothing of OpenAI's protocol.


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """One chunk of an answer: its content, and the text that goes to the client."""

    content: dict[str, Any]
    data: str | None = None
    """The event's data as the model server wrote it; None if the chunk is the API's own."""

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The parts of the answers that the chunk adds to; empty for the chunk with the usage."""
        return self.content.get("choices") or []

    @property
    def is_last(self) -> bool:
        """Whether it ends an answer."""
        return any(choice.get("finish_reason") for choice in self.choices)

    def to_event(self) -> bytes:
        """Return it as a server-sent event; what the model server wrote is forwarded unchanged."""
        # A line feed, which JSON allows between its tokens, would end the event's line.
        if self.data is not None and "\n" not in self.data:
            return server_sent_event(self.data)
        return server_sent_event(json.dumps(self.content, ensure_ascii=False, separators=(",", ":")))


def parse_chunk(data: str, model: str, answer_format: ResponseFormat) -> StreamChunk | None:
    """Parse one event's data as one of OpenAI's chunks.

    Args:
        data: JSON: a chunk, an error, or LMI's older `{"token": {"text": …}}`.
        model: the model's name for a chunk that has none.
        answer_format: the format for a chunk that has none.

    Returns:
        The chunk, or None if the data is neither of these.
    """
    try:
        content = json.loads(data)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    if "token" in content and "choices" not in content:
        return StreamChunk(_from_lmi(content, model, answer_format))
    return StreamChunk(content, data) if "choices" in content or "error" in content else None


def _from_lmi(line: dict[str, Any], model: str, answer_format: ResponseFormat) -> dict[str, Any]:
    details = line.get("details") or {}
    reason = details.get("finish_reason")
    finish_reason = "stop" if reason in {"eos_token", "stop_sequence"} else reason
    return {
        "id": f"{answer_format.id_prefix}-lmi",
        "object": answer_format.chunk_object,
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                **answer_format.delta(line["token"].get("text", "")),
                "finish_reason": finish_reason,
            }
        ],
    }


def truncated_chunk(chunk: StreamChunk, indices: set[int], answer_format: ResponseFormat) -> StreamChunk:
    """Return the last chunk of an answer that ends because it has taken too long.

    Args:
        chunk: the chunk before.
        indices: those of the answer's choices.
        answer_format: of the answer.
    """
    choices = [
        {"index": index, **answer_format.delta(""), "finish_reason": "length"} for index in sorted(indices)
    ]
    return StreamChunk({**chunk.content, "choices": choices})


def merge_chunks(chunks: list[StreamChunk], model: str, answer_format: ResponseFormat) -> dict[str, Any]:
    """Merge the chunks of a stream into one answer."""
    texts: dict[int, str] = {}
    reasons: dict[int, str | None] = {}
    logprobs: dict[int, dict[str, list[Any]]] = {}
    answer: dict[str, Any] = {
        "id": answer_format.id_prefix,
        "object": answer_format.answer_object,
        "created": 0,
        "model": model,
    }
    for chunk in chunks:
        answer |= {
            name: chunk.content[name]
            for name in ("id", "created", "model", "system_fingerprint", "usage")
            if chunk.content.get(name)
        }
        for choice in chunk.choices:
            index = choice.get("index", 0)
            texts[index] = texts.get(index, "") + answer_format.text_of(choice)
            reasons[index] = choice.get("finish_reason") or reasons.get(index)
            for name, values in (choice.get("logprobs") or {}).items():
                if isinstance(values, list):
                    logprobs.setdefault(index, {}).setdefault(name, []).extend(values)
    choices = [
        {
            "index": index,
            **answer_format.message(texts[index]),
            "logprobs": logprobs.get(index),
            "finish_reason": reasons[index],
        }
        for index in sorted(texts)
    ]
    return {**answer, "choices": choices}


def server_sent_event(data: str) -> bytes:
    """Return one server-sent event with this data, which has no line feed."""
    return f"data: {data}\n\n".encode()


def comment(text: str) -> bytes:
    """Return one comment, which clients of server-sent events skip."""
    return f": {' '.join(text.split())}\n\n".encode()
