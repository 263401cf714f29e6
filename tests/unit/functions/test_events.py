"""However the network splits the endpoint's answer, the same events are read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_api.openai.answers import CHAT, COMPLETION
from chat_api.openai.events import EventReader, StreamChunk, merge_chunks, parse_chunk, truncated_chunk

CUTS = st.lists(st.integers(0, 10_000), max_size=12)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=0, max_size=30)


def _chunk(text: str) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def _read(parts: list[bytes]) -> list[str]:
    reader = EventReader()
    return [data for part in parts for data in reader.feed(part)] + list(reader.close())


@given(
    st.lists(TEXTS, max_size=6),
    CUTS,
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_cutting_of_server_sent_events_gives_the_same(
    texts: list[str], cuts: list[int], end: str
) -> None:
    events = [json.dumps(_chunk(text), ensure_ascii=False) for text in texts] + ["[DONE]"]
    stream = "".join(f"data: {event}{end}{end}" for event in events).encode()
    assert _read(_cut(stream, cuts)) == events


@given(st.lists(TEXTS, min_size=1, max_size=6), CUTS, st.booleans())
def test_any_cutting_of_json_lines_gives_the_same(texts: list[str], cuts: list[int], ended: bool) -> None:
    lines = [json.dumps(_chunk(text)) for text in texts]
    stream = ("\n".join(lines) + ("\n" if ended else "")).encode()
    assert _read(_cut(stream, cuts)) == lines


def test_every_single_byte_apart() -> None:
    stream = ': hello\nevent: message\ndata: {"a":\ndata: "é"}\n\ndata:[DONE]\n\n'.encode()
    assert _read([bytes([byte]) for byte in stream]) == ['{"a":\n"é"}', "[DONE]"]


def test_lmi_tokens_become_chunks() -> None:
    line = '{"token": {"id": 5, "text": " hill"}, "details": {"finish_reason": "eos_token"}}'
    chunk = parse_chunk(line, "v2", CHAT)
    assert chunk is not None
    assert chunk.choices[0] == {"index": 0, "delta": {"content": " hill"}, "finish_reason": "stop"}
    assert chunk.content["model"] == "v2"
    text = parse_chunk(line, "v2", COMPLETION)
    assert text is not None
    assert (text.content["object"], text.choices[0]["text"]) == ("text_completion", " hill")
    assert parse_chunk("garbage", "v2", CHAT) is None
    assert parse_chunk('{"neither": 1}', "v2", CHAT) is None


def test_chunks_are_merged_by_choice() -> None:
    def part(index: int, text: str, reason: str | None = None) -> StreamChunk:
        choice = {"index": index, "delta": {"content": text}, "finish_reason": reason}
        return StreamChunk({"id": "x", "model": "v2", "system_fingerprint": "f", "choices": [choice]})

    usage = StreamChunk({"id": "x", "choices": [], "usage": {"total_tokens": 9}})
    parts = [part(1, "b"), part(0, "a"), part(0, "A", "stop"), part(1, "B", "length"), usage]
    whole = merge_chunks(parts, "v2", CHAT)
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["aA", "bB"]
    assert [choice["finish_reason"] for choice in whole["choices"]] == ["stop", "length"]
    assert whole["usage"] == {"total_tokens": 9}
    assert whole["system_fingerprint"] == "f"
    assert whole["object"] == "chat.completion"


@pytest.mark.parametrize(
    "data",
    [
        '{"id": "x", "choices": [{"index": 0, "delta": {"content": "caf\\u00e9"}}]}',
        '{"choices":[{"index":0,"delta":{"content":"café"},"logprobs":null}],"new_field":1e400}',
        '{"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}',
    ],
    ids=["spaces and escapes", "fields that the API does not know", "half of a surrogate pair"],
)
def test_a_chunk_is_forwarded_as_the_model_server_wrote_it(data: str) -> None:
    event = f"data: {data}\n\n".encode()
    (read,) = _read([event])
    chunk = parse_chunk(read, "v2", CHAT)
    assert chunk is not None
    assert chunk.to_event() == event


def test_a_chunk_on_several_lines_and_a_chunk_of_the_api_are_written_on_one() -> None:
    lines = parse_chunk('{"choices": [],\n"usage": null}', "v2", CHAT)
    token = parse_chunk('{"token": {"text": "café"}}', "v2", CHAT)
    assert lines is not None and token is not None
    assert lines.to_event() == b'data: {"choices":[],"usage":null}\n\n'
    assert '"content":"café"' in token.to_event().decode()
    end = truncated_chunk(lines, {1, 0}, CHAT)
    assert end.is_last and [choice["index"] for choice in end.choices] == [0, 1]
    assert end.to_event().count(b"\n") == 2
