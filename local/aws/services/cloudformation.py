"""CloudFormation: resource types that MiniStack lacks, hooks for those that it has, and deletion.

The types here are of MiniStack's own services: Cognito's users and budgets.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ministack.services import budgets, cloudformation, cognito
from ministack.services.cloudformation import provisioners, stacks

from local.aws.cloud_environment import ACCOUNT

Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]
"""Physical id, and the attributes that Fn::GetAtt can ask for."""
_NOT_DELETED = "_not_deleted_in_rollback"
"""Member of MiniStack's record of a stack: resources whose deletion failed in the rollback in progress."""


@dataclass(frozen=True)
class ResourceType:
    """How CloudFormation makes, changes and removes one type.

    A change of a member of `replaced_by` makes a new resource; every other goes to `update`.
    """

    create: Callable[[str, Properties], Created]
    """(name to use if the template gives none, properties)"""
    delete: Callable[[str, Properties], None]
    update: Callable[[str, Properties, Properties], Created] | None = None
    replaced_by: tuple[str, ...] = ()


def install() -> None:
    """Change CloudFormation in this process's MiniStack."""
    keep_dependencies_of_failures()
    keep_failures_of_rollbacks()
    tag_no_identities()
    add_resource_type(
        "AWS::Cognito::UserPoolUser",
        ResourceType(
            create=_create_user,
            delete=_delete_user,
            replaced_by=("UserPoolId", "Username"),
        ),
    )
    add_resource_type(
        "AWS::Cognito::UserPoolUserToGroupAttachment",
        ResourceType(
            create=_create_membership,
            delete=_delete_membership,
            replaced_by=("UserPoolId", "Username", "GroupName"),
        ),
    )
    add_resource_type("AWS::Budgets::Budget", ResourceType(create=_create_budget, delete=_delete_budget))


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


def after_creating(type_: str, then: Callable[[str, Properties], None]) -> None:
    """Call `then` with physical id and properties of each resource of a type that has been created."""
    handler = provisioners._RESOURCE_HANDLERS[type_]
    create = handler["create"]

    def create_and_tell(logical_id: str, properties: Properties, stack: str) -> Created:
        created: Created = create(logical_id, properties, stack)
        then(created[0], properties)
        return created

    handler["create"] = create_and_tell


def keep_dependencies_of_failures() -> None:
    """Keep the dependencies of a resource whose deletion failed, also in a rollback.

    CloudFormation deletes in the reverse order of dependencies, so it never reaches them; MiniStack goes
    on, and a second deletion would find a custom resource without its function.
    """
    delete = stacks._delete_resource

    def delete_unless_needed(
        type_: str,
        physical_id: str,
        properties: Properties,
        stack_name: str | None = None,
        logical_id: str | None = None,
    ) -> None:
        needed_by = _undeleted_dependents(stack_name, logical_id)
        if needed_by:
            raise ValueError(f"Not attempted: {', '.join(needed_by)} could not be deleted and needs it.")
        try:
            delete(type_, physical_id, properties, stack_name, logical_id)
        except Exception:
            if stack_name in cloudformation._stacks:
                cloudformation._stacks[stack_name].setdefault(_NOT_DELETED, set()).add(logical_id)
            raise

    stacks._delete_resource = delete_unless_needed


def keep_failures_of_rollbacks() -> None:
    """Keep resources in the stack whose deletion failed in a rollback, for the next deletion.

    MiniStack drops them: a deletion of the stack would succeed and leave them in the account.
    """
    roll_back = stacks._roll_back_operation

    async def roll_back_and_keep(
        stack_name: str, stack_id: str, stack: dict[str, Any], *more: Any, **named: Any
    ) -> None:
        before = dict(stack.get("_resources") or {})
        stack.pop(_NOT_DELETED, None)
        await roll_back(stack_name, stack_id, stack, *more, **named)
        if stack["StackStatus"] == "ROLLBACK_FAILED":
            for name in set(stack["_rollback_failed"]) & set(before):
                stack["_resources"][name] = {**before[name], "ResourceStatus": "DELETE_FAILED"}

    stacks._roll_back_operation = roll_back_and_keep


def _undeleted_dependents(stack_name: str | None, logical_id: str | None) -> list[str]:
    """List the resources of a stack in deletion that depend on this one and failed to be deleted."""
    stack = cloudformation._stacks.get(stack_name) or {}
    definitions = (stack.get("_template") or {}).get("Resources", {})
    present = stack.get("_resources", {})
    if stack.get("StackStatus") == "DELETE_IN_PROGRESS":
        failed = {name for name, one in present.items() if one.get("ResourceStatus") == "DELETE_FAILED"}
    elif stack.get("StackStatus") == "ROLLBACK_IN_PROGRESS":
        failed = stack.get(_NOT_DELETED, set())
    else:
        return []
    return sorted(
        other
        for other in failed
        if other != logical_id
        and logical_id in stacks._with_dependencies([other], definitions, set(definitions))
    )


def tag_no_identities() -> None:
    """Give roles and users no tags but the template's: CloudFormation adds none of its own to them."""
    for kind in ("Role", "User"):
        provisioners._STACK_TAG_PROPERTY.pop(f"AWS::IAM::{kind}", None)


def _call_budgets(action: str, request: dict[str, Any]) -> None:
    """Call AWS Budgets. Raises ValueError with its message."""
    status, _, body = budgets._DISPATCH[action](request)
    if status >= 400:
        raise ValueError(str(json.loads(body).get("message", body)))


def _create_budget(name: str, given: Properties) -> Created:
    wanted = given["Budget"]
    budget = {"BudgetName": name, **wanted}
    if limit := wanted.get("BudgetLimit"):
        budget["BudgetLimit"] = {"Amount": str(limit["Amount"]), "Unit": limit["Unit"]}
    _call_budgets(
        "CreateBudget",
        {
            "AccountId": ACCOUNT,
            "Budget": budget,
            "NotificationsWithSubscribers": [
                {
                    **entry,
                    "Notification": {
                        **entry["Notification"],
                        "Threshold": float(entry["Notification"]["Threshold"]),
                    },
                }
                for entry in given.get("NotificationsWithSubscribers", [])
            ],
            "ResourceTags": given.get("ResourceTags", []),
        },
    )
    return str(budget["BudgetName"]), {}


def _delete_budget(physical: str, given: Properties) -> None:
    _call_budgets("DeleteBudget", {"AccountId": ACCOUNT, "BudgetName": physical})


def _call_cognito(action: str, request: dict[str, Any]) -> dict[str, Any]:
    """Call Cognito user pools (``AdminCreateUser``). Raises ValueError with its message."""
    functions = {
        "AdminCreateUser": cognito._admin_create_user,
        "AdminUpdateUserAttributes": cognito._admin_update_user_attributes,
        "AdminDeleteUser": cognito._admin_delete_user,
        "AdminAddUserToGroup": cognito._admin_add_user_to_group,
        "AdminRemoveUserFromGroup": cognito._admin_remove_user_from_group,
    }
    status, _, body = functions[action](request)
    answer: dict[str, Any] = json.loads(body) if body else {}
    if status >= 400:
        raise ValueError(str(answer.get("message", answer)))
    return answer


def _create_user(name: str, given: Properties) -> Created:
    username = str(given.get("Username") or name)
    members = ("UserPoolId", "UserAttributes", "DesiredDeliveryMediums", "MessageAction", "ClientMetadata")
    request = {member: given[member] for member in members if member in given}
    _call_cognito("AdminCreateUser", {**request, "Username": username})
    return username, {}


def _delete_user(username: str, given: Properties) -> None:
    _call_cognito("AdminDeleteUser", {"UserPoolId": given["UserPoolId"], "Username": username})


def _create_membership(name: str, given: Properties) -> Created:
    _call_cognito("AdminAddUserToGroup", _membership(given))
    return f"{given['UserPoolId']}-{given['Username']}-{given['GroupName']}", {}


def _delete_membership(physical: str, given: Properties) -> None:
    _call_cognito("AdminRemoveUserFromGroup", _membership(given))


def _membership(given: Properties) -> Properties:
    return {member: given[member] for member in ("UserPoolId", "Username", "GroupName")}
