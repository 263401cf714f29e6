"""Requests that AWS refuses and MiniStack accepts: held to the service's model before MiniStack sees them.

botocore's clients check types and required members and leave the rest to the service: enumerations, patterns,
lengths and ranges. MiniStack checks few of them, so a value that AWS refuses would pass here.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from botocore.model import OperationModel
from ministack.services import sns

from local.aws.service_handlers import HttpRequest, Response, before_requests
from local.aws.service_models import operation, problems_of, service_model


@dataclass(frozen=True)
class Checked:
    """A service as MiniStack names it, its model, and the code of its refusals."""

    service: str
    model: str
    code: str = "ValidationException"


SERVICES = (
    Checked("states", "stepfunctions"),
    Checked("events", "events"),
    Checked("logs", "logs", "InvalidParameterException"),
    Checked("cognito-idp", "cognito-idp", "InvalidParameterException"),
    Checked("dynamodb", "dynamodb"),
    Checked("budgets", "budgets", "InvalidParameterException"),
    Checked("ssm", "ssm"),
    Checked("tagging", "resourcegroupstaggingapi", "InvalidParameterException"),
    Checked("lambda", "lambda"),
    Checked("scheduler", "scheduler"),
)
SUBJECT_CHARACTERS = 100
"""A subject is shorter than this."""


def install() -> None:
    """Check every request to these services, and the subjects of messages."""
    for checked in SERVICES:
        before_requests(checked.service, _Check(checked))
    check_subjects()


@dataclass(frozen=True)
class _Check:
    checked: Checked

    def __call__(self, request: HttpRequest) -> Response | None:
        """Refuse a request with everything that is wrong with it; None lets it through."""
        found = _parse(self.checked.model, request)
        if found is None:
            return None
        name, members = found
        problems = problems_of(name, members, self.checked.model)
        if not problems:
            return None
        plural = "error" if len(problems) == 1 else "errors"
        message = f"{len(problems)} validation {plural} detected: {'; '.join(problems)}"
        content = {"__type": self.checked.code, "message": message}
        answer = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": self.checked.code}
        return 400, answer, json.dumps(content).encode()


def _parse(model: str, request: HttpRequest) -> tuple[str, dict[str, Any]] | None:
    """Return the operation's name and its members; None if the request cannot be read."""
    try:
        content = json.loads(request.body or b"{}")
    except ValueError:
        return None  # MiniStack answers it
    if not isinstance(content, dict):
        return None
    if service_model(model).metadata["protocol"] == "json":
        name = request.headers.get("x-amz-target", "").partition(".")[2]
        return (name, content) if name in service_model(model).operation_names else None
    for pattern, fixed_query, name in _routes(model).get(request.method, []):
        match = pattern.fullmatch(request.path)
        if match and all(request.query.get(key) == [value] for key, value in fixed_query):
            return name, _members(operation(name, model), match.groupdict(), content, request)
    return None


@cache
def _routes(model: str) -> dict[str, list[tuple[re.Pattern[str], list[tuple[str, str]], str]]]:
    """Return path patterns, fixed parts of the query and operations of a REST service, by method.

    The longest come first: GetLayerVersionByArn is ListLayers with `?find=LayerVersion`.
    """
    routes: dict[str, list[tuple[re.Pattern[str], list[tuple[str, str]], str]]] = {}
    names = service_model(model).operation_names
    found = [(operation(name, model).http, name) for name in names]
    for http, name in sorted(found, key=lambda one: -len(one[0]["requestUri"])):
        template, _, query = http["requestUri"].partition("?")
        parts = re.split(r"\{(\w+)\+?\}", template.rstrip("/"))
        texts, members = parts[::2], [*parts[1::2], None]
        pattern = "".join(
            re.escape(text) + (f"(?P<{member}>[^/]+)" if member else "")
            for text, member in zip(texts, members, strict=True)
        )
        routes.setdefault(http["method"], []).append((re.compile(f"{pattern}/?"), parse_qsl(query), name))
    return routes


def _members(
    model: OperationModel, in_path: dict[str, str], body: dict[str, Any], request: HttpRequest
) -> dict[str, Any]:
    """Gather a REST request's members from its path, its query, its headers and its body."""
    shape = model.input_shape
    if shape is None:
        return {}
    members: dict[str, Any] = {}
    for name, member in shape.members.items():
        place, key = member.serialization.get("location"), member.serialization.get("name", name)
        if place == "uri":
            members[name] = unquote(in_path[key])
        elif place == "querystring" and key in request.query:
            members[name] = _from_query(member.type_name, request.query[key])
        elif place == "header" and key.lower() in request.headers:
            members[name] = request.headers[key.lower()]
        elif place is None and key in body and "payload" not in shape.serialization:
            members[name] = body[key]
    return members


def _from_query(kind: str, values: list[str]) -> Any:
    if kind == "list":
        return values
    if kind == "boolean":
        return values[0].lower() == "true"
    return int(values[0]) if kind == "integer" and values[0].isdigit() else values[0]


def check_subjects() -> None:
    """Refuse a message whose subject an e-mail cannot have."""
    publish = sns._publish

    def publish_checked(parameters: dict[str, Any]) -> Any:
        subject = str(sns._p(parameters, "Subject") or "")
        if len(subject) >= SUBJECT_CHARACTERS or any(not character.isprintable() for character in subject):
            return sns._error("InvalidParameter", "Invalid parameter: Subject", 400)
        return publish(parameters)

    sns._publish = publish_checked
