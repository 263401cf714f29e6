"""Parse JSON strictly, because other programs refuse what Python's parser accepts beyond the standard.

Python accepts NaN, lone surrogates, numbers that overflow to infinity and duplicate keys. Written out again,
each makes a line that SageMaker, the model server or the person's own parser refuses, after the answers have
been paid for. NUL is allowed in JSON, but many parsers end a text there.
"""

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, NoReturn

from pydantic import BeforeValidator, Field

DEEPEST = 64
"""The deepest nesting of objects and lists."""
_MOST_BITS = 64
"""The size of the model server's integers."""


class NotStrictJsonError(ValueError):
    """The text is JSON only for Python; the message has the reason and quotes at most a key."""


def loads(text: str) -> Any:
    """Parse one value strictly.

    Raises:
        NotStrictJsonError: if it contains something that the standard or common parsers do not allow.
        ValueError: if it is not JSON at all.
    """
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise _too_deep() from None
    _check(value)
    return value


def loads_leniently(text: str | bytes) -> Any:
    """Parse a job's output; a number that is not valid JSON becomes null instead of an error.

    Raises:
        ValueError: if it is not JSON.
    """
    try:
        return json.loads(text, parse_constant=lambda _: None, parse_float=_finite_or_none)
    except RecursionError:
        raise _too_deep() from None


def dumps(value: Any) -> bytes:
    """Serialize a value on one line in UTF-8; a lone surrogate becomes the replacement character."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _check(value: Any) -> None:
    """Check nesting and strings without recursion, which deep nesting would overflow."""
    level = [value]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, str):
                _check_text(one)
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, dict):
                inner += one
                inner += one.values()
        if not inner:
            return
        level = inner
    raise _too_deep()


def _check_text(text: str) -> None:
    if "\0" in text:
        raise NotStrictJsonError("it has a NUL (\\u0000)")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotStrictJsonError("it has half of a character (a lone surrogate, such as \\ud800)") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = _first_repeated(key for key, _ in pairs)
        _check_text(twice)
        raise NotStrictJsonError(f"it has {twice[:64]!r} twice in the same object")
    return found


def _first_repeated(keys: Iterable[str]) -> str:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    raise ValueError("No key is repeated.")


def _constant(name: str) -> NoReturn:
    raise NotStrictJsonError(f"it has {name}, which is not a number in JSON")


def _float(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise NotStrictJsonError("it has a number that is too large")
    return number


def _integer(written: str) -> int:
    # Checked before conversion, because Python refuses thousands of digits with a different error.
    number = int(written) if len(written) <= _MOST_BITS else None
    if number is None or not -(2 ** (_MOST_BITS - 1)) <= number < 2**_MOST_BITS:
        raise NotStrictJsonError("it has a number that is too large")
    return number


def _finite_or_none(written: str) -> float | None:
    number = float(written)
    return number if math.isfinite(number) else None


def _too_deep() -> NotStrictJsonError:
    return NotStrictJsonError(f"it is nested more than {DEEPEST} levels deep")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer
)


def _integer_value(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_integer_value)
"""Accepts 7.0 for 7 in strict pydantic models: JSON has one kind of number."""


# The bounds come first, because the API's description would lose them otherwise.
Positive = Annotated[int, Field(ge=1), WHOLE]
