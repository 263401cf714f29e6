"""The CDK context of this checkout, as `cdk deploy` hands it to the app."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class ContextError(Exception):
    """A file with CDK context cannot be used; `cure` is what to do."""

    def __init__(self, file: str, reason: str, cure: str) -> None:
        super().__init__(f"{file} {reason}.")
        self.file = file
        self.reason = reason
        self.cure = cure


def read_context(checkout: Path, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Merge the context of ~/.cdk.json, cdk.context.json, cdk.json and the command line; the later wins.

    Raises:
        ContextError: a file is missing, is not JSON, or does not have the form that the CDK reads.
    """
    settings_file = checkout / "cdk.json"
    try:
        app = _object(settings_file)
    except FileNotFoundError:
        raise ContextError(
            "cdk.json",
            f"is missing in {checkout}",
            "Run the command of a complete checkout, or restore the file: git checkout cdk.json",
        ) from None
    context = app.get("context", {})
    if not isinstance(context, dict):
        raise ContextError(
            "cdk.json", 'has no object under "context"', "Restore the file: git checkout cdk.json"
        )
    user_context = _optional(Path.home() / ".cdk.json").get("context", {})
    lookups = _optional(checkout / "cdk.context.json")
    return {**user_context, **lookups, **context, **(overrides or {})}


def parse_overrides(given: Sequence[str]) -> dict[str, str]:
    """Parse the values of `-c key=value`.

    Raises:
        ValueError: one has no `=`.
    """
    parsed = {}
    for assignment in given:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{assignment!r} is not written as key=value")
        parsed[key.strip()] = value
    return parsed


def _optional(path: Path) -> dict[str, Any]:
    try:
        return _object(path)
    except FileNotFoundError:
        return {}


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ContextError(
            path.name,
            f"is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}",
            f"Correct {path.name} there; often a comma is missing, or there is one after the last value.",
        ) from error
    except UnicodeDecodeError as error:
        raise ContextError(
            path.name, "is not UTF-8 text", f"Save the file as UTF-8, or restore it: git checkout {path.name}"
        ) from error
    if not isinstance(content, dict):
        raise ContextError(path.name, "is not a JSON object", f"Restore it: git checkout {path.name}")
    return content
