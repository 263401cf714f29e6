"""CloudFormation types that MiniStack lacks: SageMaker's, ``Budgets::Budget``, and Cognito's of people."""

import time
from functools import partial
from typing import Any

from local.environment import ACCOUNT
from local.plugin.ministack_cloudformation import (
    Created,
    Properties,
    ResourceType,
    add_resource_type,
    call_budgets,
    call_cognito,
)
from local.plugin.sagemaker import api, endpoints
from local.plugin.sagemaker.errors import ApiError
from local.plugin.sagemaker.store import STORE, arn

ENDPOINT_SECONDS = 600
"""How long CloudFormation waits for an endpoint."""

_BOOLEANS = {"EnableNetworkIsolation"}
_INTEGERS = {"InitialInstanceCount", "ContainerStartupHealthCheckTimeoutInSeconds", "VolumeSizeInGB"}
_FLOATS = {"InitialVariantWeight"}


def install() -> None:
    """Add the types to the MiniStack of this process."""
    add_resource_type(
        "AWS::SageMaker::ModelPackageGroup",
        ResourceType(
            create=partial(_made, "ModelPackageGroup"),
            delete=partial(_removed, "ModelPackageGroup"),
            update=_retagged,
            replaced_by=("ModelPackageGroupName", "ModelPackageGroupDescription"),
        ),
    )
    for kind in ("Model", "EndpointConfig"):
        add_resource_type(
            f"AWS::SageMaker::{kind}",
            ResourceType(create=partial(_made, kind), delete=partial(_removed, kind)),
        )
    add_resource_type(
        "AWS::SageMaker::Endpoint",
        ResourceType(
            create=_endpoint_made,
            delete=partial(_removed, "Endpoint"),
            update=_endpoint_updated,
            replaced_by=("EndpointName",),
        ),
    )
    add_resource_type(
        "AWS::Cognito::UserPoolUser",
        ResourceType(
            create=_person_made,
            delete=_person_removed,
            replaced_by=("UserPoolId", "Username"),
        ),
    )
    add_resource_type(
        "AWS::Cognito::UserPoolUserToGroupAttachment",
        ResourceType(
            create=_membership_made,
            delete=_membership_removed,
            replaced_by=("UserPoolId", "Username", "GroupName"),
        ),
    )
    add_resource_type(
        "AWS::Budgets::Budget",
        ResourceType(
            create=_budget_made,
            delete=lambda physical, _: call_budgets(
                "DeleteBudget", {"AccountId": ACCOUNT, "BudgetName": physical}
            ),
        ),
    )


def _allowed(action: str, resource: str, context: dict[str, str]) -> None:
    """Allow everything: MiniStack's CloudFormation acts as the account's administrator."""


def _call(operation: str, request: Properties) -> Properties:
    try:
        return api.perform(operation, request, _allowed)
    except ApiError as error:
        raise ValueError(str(error)) from error


def _typed(value: Any, member: str = "") -> Any:
    """Convert a template's numbers and booleans, which may be strings."""
    if isinstance(value, dict):
        return {key: _typed(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, str) and member in _BOOLEANS:
        return value.lower() == "true"
    if isinstance(value, str) and member in _INTEGERS:
        return int(value)
    return float(value) if isinstance(value, str) and member in _FLOATS else value


def _made(kind: str, name: str, given: Properties) -> Created:
    request = {f"{kind}Name": name, **_typed(given)}
    made = _call(f"Create{kind}", request)[f"{kind}Arn"]
    # Ref is the ARN, and the name an attribute; both as CloudFormation documents them.
    return str(made), {f"{kind}Arn": made, f"{kind}Name": request[f"{kind}Name"]}


def _removed(kind: str, physical: str, given: Properties) -> None:
    _call(f"Delete{kind}", {f"{kind}Name": physical.rsplit("/", 1)[-1]})


def _retagged(physical: str, old: Properties, new: Properties) -> Created:
    kept = {tag["Key"] for tag in new.get("Tags", [])}
    STORE.untag(physical, [tag["Key"] for tag in old.get("Tags", []) if tag["Key"] not in kept])
    STORE.tag(physical, new.get("Tags", []))
    return physical, {"ModelPackageGroupArn": physical, "ModelPackageGroupName": physical.rsplit("/", 1)[-1]}


def _endpoint_made(name: str, given: Properties) -> Created:
    made = _made("Endpoint", name, _with_config_name(given))
    _wait_for_endpoint(made[0])
    return made


def _endpoint_updated(physical: str, old: Properties, new: Properties) -> Created:
    name = physical.rsplit("/", 1)[-1]
    if old.get("EndpointConfigName") != new.get("EndpointConfigName"):
        config = _with_config_name(new)["EndpointConfigName"]
        _call("UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": config})
        _wait_for_endpoint(physical)
    return physical, {"EndpointArn": physical, "EndpointName": name}


def _with_config_name(given: Properties) -> Properties:
    """Replace the ARN that a Ref to an EndpointConfig gives by the name."""
    return {**given, "EndpointConfigName": str(given["EndpointConfigName"]).rsplit("/", 1)[-1]}


def _wait_for_endpoint(physical: str) -> None:
    name = physical.rsplit("/", 1)[-1]
    deadline = time.monotonic() + ENDPOINT_SECONDS
    while time.monotonic() < deadline:
        record = endpoints.get(name)
        if record["EndpointStatus"] in ("InService", "Failed"):
            if reason := record.get("FailureReason"):
                raise ValueError(f"Endpoint {arn('endpoint', name)}: {reason}")
            return
        time.sleep(0.5)
    raise ValueError(f"Endpoint {arn('endpoint', name)} is not InService after {ENDPOINT_SECONDS} s.")


def _budget_made(name: str, given: Properties) -> Created:
    wanted = given["Budget"]
    budget = {"BudgetName": name, **wanted}
    if limit := wanted.get("BudgetLimit"):
        budget["BudgetLimit"] = {"Amount": str(limit["Amount"]), "Unit": limit["Unit"]}
    call_budgets(
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


def _person_made(name: str, given: Properties) -> Created:
    username = str(given.get("Username") or name)
    members = ("UserPoolId", "UserAttributes", "DesiredDeliveryMediums", "MessageAction", "ClientMetadata")
    request = {member: given[member] for member in members if member in given}
    call_cognito("AdminCreateUser", {**request, "Username": username})
    return username, {}


def _person_removed(username: str, given: Properties) -> None:
    call_cognito("AdminDeleteUser", {"UserPoolId": given["UserPoolId"], "Username": username})


def _membership_made(name: str, given: Properties) -> Created:
    call_cognito("AdminAddUserToGroup", _membership(given))
    return f"{given['UserPoolId']}-{given['Username']}-{given['GroupName']}", {}


def _membership_removed(physical: str, given: Properties) -> None:
    call_cognito("AdminRemoveUserFromGroup", _membership(given))


def _membership(given: Properties) -> Properties:
    return {member: given[member] for member in ("UserPoolId", "Username", "GroupName")}
