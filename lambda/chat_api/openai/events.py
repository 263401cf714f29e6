"""The endpoint's byte stream as events, wherever the network cut it."""

import json
from collections.abc import Iterator
from typing import Any

from chat_api.openai.forms import ResponseFormat

DONE = "[DONE]"


class EventReader:
    """Reads vLLM's server-sent events and LMI's JSON lines from byte chunks that break anywhere.

    A SageMaker payload part may end inside an event, a line, or a character; only whole lines are read.
    """

    def __init__(self) -> None:
        """Start with nothing read."""
        self._kept = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Take the next bytes; yields the data of each event that they complete."""
        *lines, self._kept = (self._kept + chunk).split(b"\n")
        for line in lines:
            yield from self._line(line)

    def close(self) -> Iterator[str]:
        """Yield what the stream ended in the middle of, where it is whole but for its last line end."""
        rest, self._kept = self._kept, b""
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


def as_chunk(data: str, model: str, form: ResponseFormat) -> dict[str, Any] | None:
    """Read one event's data as a chunk of OpenAI's.

    Args:
        data: JSON: a chunk, an error, or LMI's older `{"token": {"text": …}}`.
        model: what to call the model where the event does not say.
        form: what kind of answer it is, where the event does not say.

    Returns:
        The chunk, or None where the data is nothing we know.
    """
    try:
        parsed = json.loads(data)
    except ValueError:
        return None
    if not isinstance(parsed, dict):
        return None
    if "token" in parsed and "choices" not in parsed:
        return _from_lmi(parsed, model, form)
    return parsed if "choices" in parsed or "error" in parsed else None


def _from_lmi(line: dict[str, Any], model: str, form: ResponseFormat) -> dict[str, Any]:
    details = line.get("details") or {}
    reason = details.get("finish_reason")
    ours = "stop" if reason in {"eos_token", "stop_sequence"} else reason
    return {
        "id": f"{form.id_prefix}-lmi",
        "object": form.chunk,
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                **form.piece(line["token"].get("text", "")),
                "finish_reason": ours,
            }
        ],
    }


def sse(data: str) -> bytes:
    """Write one server-sent event."""
    return f"data: {data}\n\n".encode()


def comment(text: str) -> bytes:
    """Write one line that clients of server-sent events pass over."""
    return f": {' '.join(text.split())}\n\n".encode()
