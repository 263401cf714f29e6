"""Drop or refuse unknown fields of a request, and report their names; none reaches the model.

vLLM accepts a hundred fields in addition to OpenAI's, among them a chat template, embeddings instead of a
prompt and a priority over other requests. Fields that `requests` does not define are removed here.
"""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from chat_api.errors import ApiError
from chat_api.openai.requests import AnswerRequest

STRICT_HEADER = "X-Storyloom-Strict"

_MOST_NAMES = 20
_LONGEST_NAME = 60

_UNSUPPORTED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "tools": ("the model calls no tools", ([],)),
    "tool_choice": ("the model calls no tools", ("none",)),
    "functions": ("the model calls no functions", ([],)),
    "function_call": ("the model calls no functions", ("none",)),
    "audio": ("the model writes text only", ()),
    "modalities": ("the model writes text only", (["text"],)),
    "echo": ("an answer never repeats its prompt", (False,)),
    "suffix": ("the model only continues a text at its end", ("",)),
    "best_of": ("every answer that is written is returned; ask for several with n", (1,)),
}
"""OpenAI's fields that change the answer and are not supported, with the reason and the values that are
allowed because they ask for nothing."""


def remove_unknown_fields(request: AnswerRequest, *, strict: bool) -> list[str]:
    """Remove the unknown fields of a request.

    A field that is null counts as absent.

    Args:
        request: a chat or a completion; it is changed in place.
        strict: whether to refuse unknown fields instead.

    Returns:
        The names of the fields that were removed, such as `chat_template` or `messages.name`.

    Raises:
        ApiError: 422 for unsupported fields, for fields that exclude each other and, if `strict`, for unknown
            fields.
    """
    for name, (reason, harmless) in _UNSUPPORTED.items():
        value = (request.model_extra or {}).get(name)
        if value is not None and value not in harmless:
            raise ApiError("unsupported_field", f"{name}: {reason}.", f"Leave {name} out of the request.")
    if request.conflict:
        raise ApiError("conflicting_fields", f"{request.conflict}.", "Change one of them.")
    unknown = sorted(set(_remove_unknown(request)) - _UNSUPPORTED.keys())
    if strict and unknown:
        raise unknown_fields_error(unknown)
    return unknown


def unknown_fields_error(unknown: list[str]) -> ApiError:
    """Return the error for unknown fields."""
    return ApiError(
        "unknown_field",
        f"Unknown fields: {format_names(unknown)}. With {STRICT_HEADER}: true they are refused.",
        "Leave them out; docs/api.md lists the fields. Without the header they are ignored.",
    )


def format_names(fields: list[str]) -> str:
    """Join field names for a header or a message, replacing unsafe characters."""
    written = [re.sub(r"[^A-Za-z0-9_.$-]", "?", name)[:_LONGEST_NAME] for name in fields[:_MOST_NAMES]]
    more = len(fields) - _MOST_NAMES
    return ", ".join([*written, f"and {more} more"] if more > 0 else written)


def _remove_unknown(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _remove_unknown(item, path)
    if not isinstance(value, BaseModel):
        return
    extra = value.model_extra or {}
    yield from (path + name for name, given in extra.items() if given is not None)
    extra.clear()
    for name in type(value).model_fields:
        yield from _remove_unknown(getattr(value, name), f"{path}{name}.")
