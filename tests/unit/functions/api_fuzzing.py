"""Asks the API what nobody would think of: schemathesis, with all its checks, against every operation."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from starlette.types import ASGIApp

_FOR_THE_SITUATION: dict[str, set[str]] = {
    "not_a_server_error": {
        *("model_asleep", "model_waking", "model_failing"),  # 503
        *("model_error", "answer_broke_off"),  # 502
    },
    # What a request may be depends on the model and on the request's other parts, which no schema can say.
    "positive_data_acceptance": {
        *("prompt_too_long", "too_many_messages", "file_too_large"),  # 413
        *("answer_too_long", "unknown_machine"),  # 422
        *("conflicting_fields", "unsupported_field", "unknown_field"),
    },
}
"""Errors that a check would take for faults, and that are what the documentation says of the situation."""
_LONGEST_FAULT = 2000
_TOLD_FROM = 100


@dataclass
class Findings:
    """What became of one operation."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    """By check and title: the first of its kind, in words, with the request that shows it again."""


def fuzz(
    app: ASGIApp, description: dict[str, Any], token: str, *, cases: int, seed: int, brief: bool
) -> dict[str, Findings]:
    """Ask every operation of an API so many times or more.

    Border cases, undocumented methods, chance that takes up what earlier answers named, and sequences of
    calls of which each uses what the one before made. Operations that take nothing are asked again until
    they have had their cases.

    Args:
        app: the API.
        description: of it, as OpenAPI.
        token: opens everything.
        cases: of each operation at least.
        seed: of chance.
        brief: leave out border cases that cost much and resemble others.

    Returns:
        What was found, by operation, such as `GET /api/runs`.
    """
    schemathesis.openapi.format(
        "file-name", strategies.from_regex(r"[a-z]{1,8}(/[a-z ]{1,8})?\.txt", fullmatch=True)
    )
    found = {
        f"{method.upper()} {path}": Findings()
        for path, methods in description["paths"].items()
        for method in methods
    }
    description = _strict(description)
    settings = _settings(token, cases, seed)
    if brief:
        settings["phases"]["coverage"] = {"unexpected-methods": ["OPTIONS", "PATCH"]}
        much_like_a_chat = {"include-path": "/api/v1/completions", "phases": {"coverage": {"enabled": False}}}
        settings["operations"].append(much_like_a_chat)
    for event in from_schema(_schema(app, description, settings)).execute():
        _take(event, found)
    # It sends requests of its own, which asking again cannot take, and has seen every operation.
    settings["checks"]["ignored_auth"] = {"enabled": False}
    # With settings for some operations, schemathesis leaves out none: of thirty cases one would be asked for.
    settings["operations"] = []
    schema = _schema(app, description, settings)
    for operation, findings in found.items():
        print(f"{operation}: {findings.cases} cases so far", flush=True)
        before = -1
        # With little to vary, schemathesis soon stops; then it is run once more.
        while before < findings.cases < cases:
            before = findings.cases
            again = from_schema(schema.include(name=operation)).fuzz()
            for event in again:
                _take(event, found)
                if findings.cases >= cases:
                    again.stop()
                    break
    return found


def _strict(description: Any) -> Any:
    """Forbid every property that a schema does not name, in requests and in answers."""
    if isinstance(description, list):
        return [_strict(value) for value in description]
    if not isinstance(description, dict):
        return description
    strict = {name: _strict(value) for name, value in description.items()}
    if isinstance(strict.get("properties"), dict) and strict.get("type") == "object":
        strict.setdefault("additionalProperties", False)
    return strict


def _schema(app: ASGIApp, description: dict[str, Any], settings: dict[str, Any]) -> Any:
    schema = schemathesis.openapi.from_dict(description, config=schemathesis.Config.from_dict(settings))
    schema.app = app
    return schema


def _settings(token: str, cases: int, seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "continue-on-failure": True,
        "request-timeout": 300,  # how long an answer takes on a busy machine says nothing of it
        "cache": {"enabled": False},
        "suppress-health-check": ["all"],
        "auth": {"openapi": {"SignIn": {"bearer": token}}},
        "generation": {"database": "none", "no-shrink": True, "max-examples": cases},
        # What chance would hardly write: a stream that waits for the model.
        "dictionaries": {"waits": {"values": ["wait=1", "respond-async, wait=1", "wait=soon"]}},
        "parameters": {"header.prefer": {"dictionary": "waits", "probability": 0.3}},
        "checks": {"negative_data_rejection": {"expected-statuses": ["401", "404", "405", "422"]}},
        "phases": {
            "stateful": {"generation": {"max-examples": max(3, cases // 10)}},
        },
        # Without a sign-in its other methods are refused like any path, before they are looked at.
        "operations": [{"include-path": "/api/health", "headers": {"Authorization": f"Bearer {token}"}}],
    }


def _take(event: events.EngineEvent, found: dict[str, Findings]) -> None:
    if isinstance(event, events.NonFatalError):
        # Not the API's fault: this file, or schemathesis, does not do what it should.
        raise RuntimeError(f"{event.label}: {event.value!r}"[:_LONGEST_FAULT]) from event.value
    if isinstance(event, events.EngineFinished) and event.failures:
        raise RuntimeError(f"Of the whole run: {event.failures!r}"[:_LONGEST_FAULT])
    if isinstance(event, events.ScenarioFinished | events.FuzzScenarioFinished):
        for case_id, node in event.recorder.cases.items():
            _read(event.recorder, case_id, found[node.value.operation.label])
        if len(event.recorder.cases) >= _TOLD_FROM:
            print(f"{event.recorder.label}: {len(event.recorder.cases)} cases", flush=True)


def _read(recorder: ScenarioRecorder, case_id: str, findings: Findings) -> None:
    interaction = recorder.interactions.get(case_id)
    response = interaction.response if interaction else None
    said = f"{response.status_code} {response.text}" if response else "no answer"
    if response:
        findings.cases += 1
        findings.statuses[response.status_code] += 1
    for check in recorder.checks.get(case_id, []):
        failed = check.failure_info
        kind = _kind(response.content if response else None)
        if failed is None or kind in _FOR_THE_SITUATION.get(check.name, set()):
            continue
        words = f"{failed.failure.message}\n{failed.code_sample}\n{said}"
        findings.faults.setdefault(f"{check.name}: {failed.failure.title}", words[:_LONGEST_FAULT])


def _kind(body: bytes | None) -> str | None:
    """Return the type of an error, or None if the body is not one of our errors."""
    try:
        return str(json.loads(body or b"")["error"]["type"])
    except (ValueError, LookupError, TypeError):
        return None
