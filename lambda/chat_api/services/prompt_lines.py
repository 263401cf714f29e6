"""Parse a batch's file of prompts; each line becomes a request that the model accepts.

A line is a body for `POST /v1/chat/completions` or `/v1/completions`, a line of OpenAI's batch files with
such a body, or plain text. Every line is checked against the limits of a single request before an instance
is paid for, because a line that the model refuses makes the job lose the lines around it, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from chat_api.errors import ApiError
from chat_api.openai import request_fields, strict_json
from chat_api.openai.requests import AnswerRequest, ChatRequest, CompletionRequest
from chat_api.services import limits
from stories import file_rules

_URLS: dict[str, type[AnswerRequest]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
}
_ENVELOPE = {"method", "url", "body"}
"""The fields of a line of OpenAI's batch files, except `custom_id`."""
_CUSTOM_ID_CHARACTERS = 64
_LINE_CHARACTERS = 256 * 1024
"""The longest line: several times the longest prompt with every character escaped."""
_MAX_FAULTS = 3
"""How many faults of a line its error message lists."""
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Line:
    """One parsed line of the file."""

    number: int
    """The line's number; the first is 1."""
    custom_id: str
    """The id that its answer gets."""
    body: dict[str, Any]
    """The request in the model server's form."""
    answer_tokens: int
    """The most tokens that its answers may have together."""
    ignored: list[str] = field(default_factory=list)
    """Unknown fields, which are dropped; those outside `body` are named `line.name`."""


@dataclass(frozen=True)
class Rules:
    """The defaults and limits for parsing lines."""

    models: Mapping[str, str]
    """The model server's name of each allowed model, by its name in the API."""
    model: str
    """The model of a line without `model`."""
    max_tokens: int
    """The limit of the answer of a line without `max_tokens`."""
    chat: bool
    """Whether plain text becomes a chat message; otherwise the model continues it."""
    context: int
    """The most tokens that a prompt and its answer may have together."""
    strict: bool = False
    """Whether a line with unknown fields is refused."""


class _LineError(Exception):
    """A line cannot be used; has the reason and the cure."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message, self.cure = message, cure


def parse_file(content: bytes, rules: Rules) -> list[Line]:
    """Parse a whole file, skipping empty lines.

    Raises:
        ApiError: a line cannot be used, or there are too many lines.
    """
    lines: list[Line] = []
    numbers: dict[str, int] = {}
    # Not `splitlines`, which also splits at other characters that a JSON string may contain.
    for number, text in enumerate(_text(content).split("\n"), start=1):
        if not text.strip("\ufeff").strip():
            continue
        if len(lines) == limits.MAX_BATCH_LINES:
            raise _too_many_lines_error()
        try:
            # Concatenated files have a byte order mark in the middle.
            line = _line(number, text.strip().removeprefix("\ufeff").strip(), rules)
            if line.custom_id in numbers:
                raise _LineError(
                    f"it has the custom_id {line.custom_id!r} of line {numbers[line.custom_id]}",
                    "Give each line a custom_id of its own, or none.",
                )
        except _LineError as error:
            raise _bad_line_error(number, error.message, error.cure) from None
        except ApiError as error:
            raise _bad_line_error(number, error.detail.message, error.detail.cure) from None
        numbers[line.custom_id] = number
        lines.append(line)
    if not lines:
        raise ApiError("empty_batch", "The file has no prompt in it.", "Put a prompt on each line.")
    return lines


def _text(content: bytes) -> str:
    if content.startswith(_GZIP):
        raise _bad_line_error(1, "the file is compressed (gzip)", "Unpack it and send what is in it.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise _bad_line_error(
            number, "it is not UTF-8", "Save the file as UTF-8 and send it again."
        ) from None


def _line(number: int, text: str, rules: Rules) -> Line:
    _check_characters(text)
    fields = _fields(text, rules)
    custom_id = _custom_id(fields.pop("custom_id", None), number)
    kind, body, beside = _request(fields)
    request = _validated(kind, body)
    ignored = sorted([*beside, *request_fields.remove_unknown_fields(request, strict=False)])
    if rules.strict and ignored:
        raise request_fields.unknown_fields_error(ignored)
    if request.stream:
        raise _LineError("it asks for a stream, and a batch has none", "Leave out its stream.")
    name = request.model if "model" in request.model_fields_set else rules.model
    if name not in rules.models:
        known = ", ".join(rules.models)
        raise _LineError(f"there is no model {name[:64]!r}", f"Use one of: {known}.")
    if not request.answer_tokens:
        request = request.model_copy(update={"max_tokens": rules.max_tokens})
    limits.check_request(request, rules.context)
    body = {**request.engine_fields(), "model": rules.models[name]}
    return Line(number, custom_id, body, request.answer_tokens * (request.n or 1), ignored)


def _fields(text: str, rules: Rules) -> dict[str, Any]:
    """Parse a line's fields; plain text becomes a request with defaults."""
    if len(text) > _LINE_CHARACTERS:
        raise _LineError(
            f"it has more than {_LINE_CHARACTERS:,} characters",
            "Shorten the prompt, or divide it into several.",
        )
    try:
        value = strict_json.loads(text) if text[0] in '{["' else text
    except strict_json.NotStrictJsonError as error:
        raise _LineError(str(error), "Write it with a program that follows the JSON standard.") from None
    except ValueError as error:
        if text[0] != "{":
            return _plain(text, rules)  # a quotation
        # Python's error message quotes no part of the line, which may be private.
        raise _LineError(f"it is not JSON ({error})", "Write one whole JSON object on a line.") from None
    if isinstance(value, str) and value.strip():
        return _plain(value, rules)
    if not isinstance(value, dict):
        raise _LineError("it is not a JSON object", "Write one request, or one text, on each line.")
    return value


def _check_characters(text: str) -> None:
    """Refuse characters that show that the file is not the text it appears to be."""
    if "\0" in text:
        raise _LineError("it has a NUL", "Save the file as UTF-8, not UTF-16, and send it again.")
    if "\r" in text:
        raise _LineError(
            "it has a carriage return in its middle, so it may be several lines",
            "Save the file with line feeds (LF, or CR and LF) between its lines.",
        )


def _plain(text: str, rules: Rules) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]} if rules.chat else {"prompt": text}


def _is_custom_id(text: str) -> bool:
    return 0 < len(text) <= _CUSTOM_ID_CHARACTERS and not file_rules.unsafe_character(text)


def _custom_id(given: Any, number: int) -> str:
    if given is None:
        return f"line-{number}"
    if not isinstance(given, str) or not _is_custom_id(given):
        raise _LineError(
            "its custom_id is not a text of 1 to 64 characters that can be shown safely",
            "Give it another custom_id, or leave it out.",
        )
    return given


def _request(fields: dict[str, Any]) -> tuple[type[AnswerRequest], dict[str, Any], list[str]]:
    """Unwrap the request from OpenAI's envelope if there is one; also returns other fields, as `line.n`."""
    if "body" not in fields:
        return (CompletionRequest if "prompt" in fields else ChatRequest), fields, []
    body, url = fields["body"], str(fields.get("url"))
    if url not in _URLS or fields.get("method", "POST") != "POST":
        raise _LineError(
            "its method and url are not those of a known batch format",
            f"Give the method POST and the url {' or '.join(_URLS)}.",
        )
    if not isinstance(body, dict):
        raise _LineError("its body is not a JSON object", "Put the request into its body.")
    unknown = fields.keys() - _ENVELOPE
    return _URLS[url], body, [f"line.{name}" for name in unknown if fields[name] is not None]


def _validated(kind: type[AnswerRequest], body: dict[str, Any]) -> AnswerRequest:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        # Without the faulty input itself, which may be a prompt.
        faults = "; ".join(
            f"{'.'.join(str(part)[:64] for part in fault['loc']) or 'the request'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)[:_MAX_FAULTS]
        )
        raise _LineError(
            f"it is not a {kind.prompt_name} ({faults})",
            'Write a text, {"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}.',
        ) from None


def _bad_line_error(number: int, message: str, cure: str) -> ApiError:
    return ApiError("bad_line", f"Line {number}: {message.rstrip('.')}.", cure, line=number)


def _too_many_lines_error() -> ApiError:
    return ApiError(
        "too_many_lines",
        f"The file has more than {limits.MAX_BATCH_LINES} prompts, the most in a batch.",
        "Divide it into several files.",
    )
