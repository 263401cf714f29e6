"""CloudWatch Logs' filter patterns for JSON lines: `{ ($.status = "5*") && ($.status != "503") }`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

import json
import operator
import re
from collections.abc import Callable
from typing import Any

Matcher = Callable[[Any], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<sign>&&|\|\||!=|>=|<=|[(){}=<>])|(?P<path>\$(?:\.\w+|\[\d+\])+)"""
    r"""|"(?P<text>[^"]*)"|(?P<bare>[\w.*+-]+))"""
)
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_MISSING = object()


class InvalidPatternError(ValueError):
    """CloudWatch Logs would refuse the pattern, or it is one that is not understood here."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a line matches; a line that is not JSON never does.

    Raises:
        InvalidPatternError: the pattern is malformed.
    """
    parser = _Parser(pattern)
    parser.expect("{")
    matches = parser.alternatives()
    parser.expect("}")
    parser.end()

    def match_line(line: str) -> bool:
        try:
            return matches(json.loads(line))
        except ValueError:
            return False

    return match_line


def value_at(document: Any, path: str) -> Any:
    """Return what a path such as `$.error.code` leads to; None if there is nothing."""
    found = _follow(document, path)
    return None if found is _MISSING else found


class _Parser:
    """Reads a pattern from left to right; `&&` binds more tightly than `||`."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._tokens = self._split(pattern)

    def _split(self, pattern: str) -> list[tuple[str, str]]:
        tokens, position = [], 0
        while pattern[position:].strip():
            found = _TOKEN.match(pattern, position)
            if not found or found.lastgroup is None:
                raise InvalidPatternError(f"{pattern!r} is not understood from character {position} on.")
            tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()
        return tokens

    def _next(self) -> tuple[str, str]:
        if not self._tokens:
            raise InvalidPatternError(f"{self._pattern!r} ends too early.")
        return self._tokens.pop(0)

    def _take(self, sign: str) -> bool:
        if self._tokens and self._tokens[0] == ("sign", sign):
            self._tokens.pop(0)
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self._take(sign):
            raise InvalidPatternError(f"{self._pattern!r} lacks a {sign}.")

    def end(self) -> None:
        if self._tokens:
            raise InvalidPatternError(f"{self._pattern!r} goes on after its end.")

    def alternatives(self) -> Matcher:
        matchers = [self._conjunction()]
        while self._take("||"):
            matchers.append(self._conjunction())
        return lambda document: any(matches(document) for matches in matchers)

    def _conjunction(self) -> Matcher:
        matchers = [self._condition()]
        while self._take("&&"):
            matchers.append(self._condition())
        return lambda document: all(matches(document) for matches in matchers)

    def _condition(self) -> Matcher:
        if self._take("("):
            matches = self.alternatives()
            self.expect(")")
            return matches
        (kind, path), (_, sign), (value_kind, value) = self._next(), self._next(), self._next()
        if kind != "path" or sign not in {"=", "!=", *_ORDER} or value_kind not in {"text", "bare"}:
            raise InvalidPatternError(f"{self._pattern!r}: {path} {sign} {value} is not a condition.")
        compare = _comparison(sign, value, is_number=value_kind == "bare" and _is_number(value))
        return lambda document: (found := _follow(document, path)) is not _MISSING and compare(found)


def _comparison(sign: str, value: str, *, is_number: bool) -> Matcher:
    """Compare a number with numbers, and text with text; a star in text stands for anything."""
    if sign in _ORDER:
        if not is_number:
            raise InvalidPatternError(f"{sign} compares numbers, and {value} is not one.")
        return lambda found: _is_json_number(found) and _ORDER[sign](found, float(value))
    if is_number:
        return lambda found: (_is_json_number(found) and found == float(value)) == (sign == "=")
    text = re.compile(re.escape(value).replace(r"\*", ".*"), re.DOTALL)
    return lambda found: (isinstance(found, str) and bool(text.fullmatch(found))) == (sign == "=")


def _is_json_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _follow(document: Any, path: str) -> Any:
    found = document
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        if name and isinstance(found, dict) and name in found:
            found = found[name]
        elif index and isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
        else:
            return _MISSING
    return found
