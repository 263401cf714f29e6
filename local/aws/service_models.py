"""Checks a request against the service's own model, as botocore carries it.

botocore's client checks types and required members; the service also checks enumerations,
patterns, lengths and ranges. Both are done here, so a wrong field fails here as it would on AWS.
"""

import functools
import re
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from local.aws.errors import AwsError, invalid

Types = type | tuple[type, ...]

_PYTHON_TYPES: dict[str, Types] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
    "blob": str,
}


@functools.cache
def service_model(service: str = "sagemaker") -> ServiceModel:
    """Return a service's model, loaded once (SageMaker's is large)."""
    return botocore.session.get_session().get_service_model(service)


def operation(name: str, service: str = "sagemaker") -> OperationModel:
    """Return the model of operation `name`. Raises `AwsError` for one that the service does not have."""
    model = service_model(service)
    if name not in model.operation_names:
        raise AwsError("UnknownOperationException", f"{model.metadata['serviceId']} has no operation {name}.")
    return model.operation_model(name)


def validate(operation_name: str, request: dict[str, Any], service: str = "sagemaker") -> None:
    """Raise `AwsError` (ValidationException) that lists everything wrong with `request`."""
    problems: list[str] = []
    _check(operation(operation_name, service).input_shape, request, "", problems)
    if problems:
        plural = "error" if len(problems) == 1 else "errors"
        raise invalid(f"{len(problems)} validation {plural} detected: {'; '.join(problems)}")


def problems_of(operation_name: str, request: dict[str, Any], service: str) -> list[str]:
    """List what a service refuses about a request; it ignores members that it does not know."""
    problems: list[str] = []
    _check(operation(operation_name, service).input_shape, request, "", problems)
    return [problem for problem in problems if not problem.startswith("Unknown parameter")]


def _check(shape: Shape | None, value: Any, path: str, problems: list[str]) -> None:
    if shape is None:
        return
    expected = _PYTHON_TYPES.get(shape.type_name)
    wrong_boolean = isinstance(value, bool) and shape.type_name != "boolean"
    if expected is not None and (not isinstance(value, expected) or wrong_boolean):
        problems.append(_constraint(value, path, f"Member must be of type {shape.type_name}"))
        return
    if isinstance(shape, StructureShape):
        _check_structure(shape, value, path, problems)
    elif isinstance(shape, ListShape):
        _check_size(shape, len(value), value, path, problems)
        for index, item in enumerate(value, start=1):
            _check(shape.member, item, f"{path}.{index}.member", problems)
    elif isinstance(shape, MapShape):
        _check_size(shape, len(value), value, path, problems)
        for key, item in value.items():
            _check(shape.key, key, f"{path}.key", problems)
            _check(shape.value, item, f"{path}.{key}.member", problems)
    elif shape.type_name == "string":
        _check_string(shape, value, path, problems)
    elif shape.type_name in ("integer", "long", "float", "double"):
        _check_range(shape, value, path, problems)


def _check_structure(shape: StructureShape, value: dict[str, Any], path: str, problems: list[str]) -> None:
    for name in shape.required_members:
        if value.get(name) is None:
            problems.append(_constraint(None, _join(path, name), "Member must not be null"))
    for name, item in value.items():
        if name not in shape.members:
            known = ", ".join(sorted(shape.members))
            problems.append(f"Unknown parameter '{_join(path, name)}', must be one of: {known}")
        elif item is not None:
            _check(shape.members[name], item, _join(path, name), problems)


def _check_string(shape: Shape, value: str, path: str, problems: list[str]) -> None:
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        problems.append(
            _constraint(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
        )
    _check_size(shape, len(value), value, path, problems)
    pattern = shape.metadata.get("pattern")
    compiled = _compiled(pattern) if pattern else None
    if compiled and not compiled.fullmatch(value):
        problems.append(
            _constraint(value, path, f"Member must satisfy regular expression pattern: {pattern}")
        )


def _check_size(shape: Shape, size: int, value: Any, path: str, problems: list[str]) -> None:
    minimum, maximum = shape.metadata.get("min"), shape.metadata.get("max")
    if minimum is not None and size < minimum:
        problems.append(
            _constraint(value, path, f"Member must have length greater than or equal to {minimum}")
        )
    if maximum is not None and size > maximum:
        problems.append(_constraint(value, path, f"Member must have length less than or equal to {maximum}"))


def _check_range(shape: Shape, value: float, path: str, problems: list[str]) -> None:
    minimum, maximum = shape.metadata.get("min"), shape.metadata.get("max")
    if minimum is not None and value < minimum:
        problems.append(
            _constraint(value, path, f"Member must have value greater than or equal to {minimum}")
        )
    if maximum is not None and value > maximum:
        problems.append(_constraint(value, path, f"Member must have value less than or equal to {maximum}"))


def _constraint(value: Any, path: str, rule: str) -> str:
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {rule}"


def _join(path: str, name: str) -> str:
    lowered = name[:1].lower() + name[1:]
    return f"{path}.{lowered}" if path else lowered


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    r"""Compile a pattern; None for one of Java's own (``\p{L}``), which is not checked."""
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        return None
