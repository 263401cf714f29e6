"""JSON Lines: stories (`text`, `title`), pairs (`prompt`, `completion`) or whole chats (`messages`)."""

import io
import json
from collections.abc import Iterator
from typing import IO, Any, AnyStr

from stories.encoding import decode, detect
from stories.errors import UnreadableError
from stories.models import Message
from stories.readers import Draft, Flaw

SUFFIXES = (".jsonl", ".ndjson")

_LONGEST_LINE_BYTES = 10 * 1024 * 1024
_MOST_FLAWS = 20
_SNIFF_BYTES = 64 * 1024
_TEXT_FIELDS = ("text", "story", "content", "body")
_TITLE_FIELDS = ("title", "name")
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
)
_SHAPE = (
    'Write one JSON object a line: {"title": …, "text": …}, {"prompt": …, "completion": …} or '
    '{"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}.'
)


def read(stream: IO[bytes], name: str) -> Iterator[Draft | Flaw]:
    """Yield a story for each line; after 20 bad lines the rest of them are only counted."""
    del name
    flaws = found = 0
    for number, line in enumerate(_lines(stream), start=1):
        if not line.strip():
            continue
        found += 1
        try:
            yield _draft(line)
        except UnreadableError as error:
            flaws += 1
            if flaws <= _MOST_FLAWS:
                yield Flaw(error.reason, error.cure, entry=f"line {number}")
    if flaws > _MOST_FLAWS:
        yield Flaw(f"{flaws - _MOST_FLAWS} more lines cannot be used.", _SHAPE, entry="further lines")
    if not found:
        raise UnreadableError("It is empty.", _SHAPE)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines in UTF-8; of a line beyond the limit only its beginning."""
    start = stream.read(_SNIFF_BYTES)
    stream.seek(-len(start), io.SEEK_CUR)
    encoding = detect(start) if start[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\0" in start else "utf-8"
    if encoding == "utf-8":
        yield from _bounded_lines(stream)
    else:
        text = io.TextIOWrapper(stream, encoding=encoding, errors="replace")
        yield from (line.encode("utf-8", "replace") for line in _bounded_lines(text))


def _bounded_lines(stream: IO[AnyStr]) -> Iterator[AnyStr]:
    while line := stream.readline(_LONGEST_LINE_BYTES):
        yield line
        while len(line) == _LONGEST_LINE_BYTES and not _ends(line):
            line = stream.readline(_LONGEST_LINE_BYTES)


def _ends(line: str | bytes) -> bool:
    return line.endswith("\n") if isinstance(line, str) else line.endswith(b"\n")


def _draft(line: bytes) -> Draft:
    fields = _parse(line)
    title = _first(fields, _TITLE_FIELDS)
    messages = _chat(fields)
    if messages:
        return Draft(_said(messages), title, messages=messages, one_of_many=True)
    text = _first(fields, _TEXT_FIELDS)
    if text is None:
        raise UnreadableError(
            f"It has none of the fields we know, only {', '.join(map(repr, fields))[:200]}.", _SHAPE
        )
    return Draft(text, title, one_of_many=True)


def _chat(fields: dict[str, Any]) -> tuple[Message, ...] | None:
    if "messages" in fields:
        return _messages(fields["messages"])
    for asked, answered in _PAIRS:
        prompt, completion = _first(fields, (asked,)), _first(fields, (answered,))
        if prompt and completion:
            return Message(role="user", content=prompt), Message(role="assistant", content=completion)
    return None


def _parse(line: bytes) -> dict[str, Any]:
    if len(line) >= _LONGEST_LINE_BYTES:
        raise UnreadableError(
            "The line is longer than 10 MB.", "Give each story its own line, and split books."
        )
    try:
        fields = json.loads(decode(line))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"It is not JSON: {error}.", _SHAPE) from error
    if not isinstance(fields, dict):
        raise UnreadableError(f"It is a JSON {type(fields).__name__}, not an object.", _SHAPE)
    return fields


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next(
        (fields[name] for name in names if isinstance(fields.get(name), str) and fields[name].strip()), None
    )


def _messages(turns: object) -> tuple[Message, ...]:
    """Check a chat: turns take turns, the user begins, the assistant has the last word.

    A system message is put before the user's first words: not every model's template has a place for it.
    """
    if not isinstance(turns, list) or not all(_is_turn(turn) for turn in turns):
        raise UnreadableError("Its messages are not a list of {role, content} with text in them.", _SHAPE)
    system = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system")
    said = [turn for turn in turns if turn["role"] != "system"]
    roles = [turn["role"] for turn in said]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise UnreadableError(
            "Its messages do not alternate between user and assistant, ending with the assistant.", _SHAPE
        )
    messages = [Message(role=turn["role"], content=turn["content"]) for turn in said]
    if system:
        messages[0] = Message(role="user", content=f"{system}\n\n{messages[0].content}")
    return tuple(messages)


def _is_turn(turn: object) -> bool:
    return (
        isinstance(turn, dict)
        and turn.get("role") in ("system", "user", "assistant")
        and isinstance(turn.get("content"), str)
        and bool(turn["content"].strip())
    )


def _said(messages: tuple[Message, ...]) -> str:
    return "\n\n".join(message.content for message in messages if message.role == "assistant")
