"""Measures the processor time per token between the endpoint's bytes and the API's events.

    PYTHONPATH=lambda python -m benchmarks.stream_decoder

The same stream of vLLM's chunks is read in turns: each chunk forwarded as it is, as the API does, and each
chunk serialized again. The last line is JSON. A forwarded stream that is not faster is a failure.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

from chat_api.openai.answers import CHAT
from chat_api.openai.events import DONE, EventReader, StreamChunk, parse_chunk, server_sent_event

_TOKENS = 20_000
_ROUNDS = 9
_PART_BYTES = 700
"""About three chunks, as SageMaker passes several at once."""
_WORDS = ("Once", " upon", " a", " hill", ",", " the", " café", " “Meridian”", " closed", ".\n")


def forwarded(chunk: StreamChunk) -> bytes:
    """Return the event with the chunk as the model server wrote it."""
    return chunk.to_event()


def serialized_again(chunk: StreamChunk) -> bytes:
    """Return the event with the chunk serialized again."""
    return server_sent_event(json.dumps(chunk.content, ensure_ascii=False, separators=(",", ":")))


def main() -> int:
    """Measure both ways in turns, and print the microseconds per token and their ratio."""
    stream = _stream()
    ways = (forwarded, serialized_again)
    seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for _ in range(_ROUNDS):
        for way in ways:
            seconds[way.__name__].append(_processor_seconds(stream, way))
    per_token = {name: statistics.median(times) / _TOKENS * 1e6 for name, times in seconds.items()}
    ratios = [
        again / once
        for once, again in zip(seconds[forwarded.__name__], seconds[serialized_again.__name__], strict=True)
    ]
    ratio = statistics.median(ratios)
    for name, microseconds in per_token.items():
        sys.stdout.write(f"{name.replace('_', ' '):20}{microseconds:8.1f} µs per token\n")
    result = {**{name: round(value, 2) for name, value in per_token.items()}, "ratio": round(ratio, 2)}
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if ratio > 1 else 1


def _stream() -> bytes:
    chunks = (
        {
            "id": "chatcmpl-5f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5",
            "object": "chat.completion.chunk",
            "created": 1764547200,
            "model": "v2",
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": _WORDS[number % len(_WORDS)]},
                    "logprobs": None,
                    "finish_reason": None,
                }
            ],
        }
        for number in range(_TOKENS)
    )
    events = (json.dumps(chunk, ensure_ascii=False, separators=(",", ":")) for chunk in chunks)
    return b"".join(server_sent_event(data) for data in (*events, DONE))


def _processor_seconds(stream: bytes, write: Callable[[StreamChunk], bytes]) -> float:
    started = time.process_time()
    reader, written = EventReader(), 0
    for start in range(0, len(stream), _PART_BYTES):
        for data in reader.feed(stream[start : start + _PART_BYTES]):
            chunk = None if data == DONE else parse_chunk(data, "v2", CHAT)
            if chunk is not None:
                written += bool(write(chunk))
    assert written == _TOKENS
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
