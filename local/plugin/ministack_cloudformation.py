"""The part of `ministack_adapter` for CloudFormation: resource types that MiniStack lacks."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ministack.services import budgets, cognito
from ministack.services.cloudformation import provisioners

Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]
"""Physical id, and the attributes that Fn::GetAtt can ask for."""


@dataclass(frozen=True)
class ResourceType:
    """How CloudFormation makes, changes and removes one type.

    A change of a member of `replaced_by` makes a new resource; every other goes to `update`.
    """

    create: Callable[[str, Properties], Created]
    """(name to use where the template gives none, properties)"""
    delete: Callable[[str, Properties], None]
    update: Callable[[str, Properties, Properties], Created] | None = None
    replaced_by: tuple[str, ...] = ()


def add_resource_type(name: str, kind: ResourceType) -> None:
    """Make CloudFormation know ``AWS::Service::Type``."""

    def create(logical_id: str, properties: Properties, stack: str) -> Created:
        return kind.create(provisioners._physical_name(stack, logical_id, max_len=63), properties)

    def update(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Created:
        changed = any(old.get(member) != new.get(member) for member in kind.replaced_by)
        if changed or kind.update is None:
            kind.delete(physical_id, old)
            return create(logical_id, new, stack)
        return kind.update(physical_id, old, new)

    provisioners._RESOURCE_HANDLERS[name] = {
        "create": create,
        "update": update,
        "update_with_logical_id": True,
        "delete": kind.delete,
    }


def before_creating(name: str, check: Callable[[str, Properties], str | None]) -> None:
    """Ask `check` with logical id and properties before a resource is made; it returns why not, or None."""
    kind = provisioners._RESOURCE_HANDLERS[name]
    create = kind["create"]

    def create_checked(logical_id: str, properties: Properties, stack: str) -> Created:
        if refusal := check(logical_id, properties):
            raise ValueError(refusal)
        made: Created = create(logical_id, properties, stack)
        return made

    kind["create"] = create_checked


def call_budgets(action: str, request: dict[str, Any]) -> None:
    """One call of AWS Budgets. Raises ValueError with its message."""
    status, _, body = budgets._DISPATCH[action](request)
    if status >= 400:
        raise ValueError(str(json.loads(body).get("message", body)))


def call_cognito(action: str, request: dict[str, Any]) -> dict[str, Any]:
    """One call of Cognito user pools (``AdminCreateUser``). Raises ValueError with its message."""
    functions = {
        "AdminCreateUser": cognito._admin_create_user,
        "AdminUpdateUserAttributes": cognito._admin_update_user_attributes,
        "AdminDeleteUser": cognito._admin_delete_user,
    }
    status, _, body = functions[action](request)
    answer: dict[str, Any] = json.loads(body) if body else {}
    if status >= 400:
        raise ValueError(str(answer.get("message", answer)))
    return answer
