"""CloudFormation's types of SageMaker, which MiniStack lacks."""

import time
from functools import partial
from typing import Any

from local.aws.errors import AwsError
from local.aws.sagemaker import control_plane
from local.aws.sagemaker.endpoints import get_endpoint
from local.aws.sagemaker.record_store import STORE, sagemaker_arn
from local.aws.services.cloudformation import Created, Properties, ResourceType, add_resource_type

ENDPOINT_SECONDS = 600
"""How long CloudFormation waits for an endpoint."""
_BOOLEANS = {"EnableNetworkIsolation"}
_INTEGERS = {"InitialInstanceCount", "ContainerStartupHealthCheckTimeoutInSeconds", "VolumeSizeInGB"}
_FLOATS = {"InitialVariantWeight"}


def add_types() -> None:
    """Add the types to the MiniStack of this process."""
    add_resource_type(
        "AWS::SageMaker::ModelPackageGroup",
        ResourceType(
            create=partial(_create, "ModelPackageGroup"),
            delete=partial(_delete, "ModelPackageGroup"),
            update=_update_tags,
            replaced_by=("ModelPackageGroupName", "ModelPackageGroupDescription"),
        ),
    )
    for kind in ("Model", "EndpointConfig"):
        add_resource_type(
            f"AWS::SageMaker::{kind}",
            ResourceType(create=partial(_create, kind), delete=partial(_delete, kind)),
        )
    add_resource_type(
        "AWS::SageMaker::Endpoint",
        ResourceType(
            create=_create_endpoint,
            delete=partial(_delete, "Endpoint"),
            update=_update_endpoint,
            replaced_by=("EndpointName",),
        ),
    )


def _allowed(action: str, resource: str, context: dict[str, str]) -> None:
    """Allow everything: MiniStack's CloudFormation acts as the account's administrator."""


def _call(operation: str, request: Properties) -> Properties:
    try:
        return control_plane.perform_operation(operation, request, _allowed)
    except AwsError as error:
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


def _create(kind: str, name: str, given: Properties) -> Created:
    request = {f"{kind}Name": name, **_typed(given)}
    made = _call(f"Create{kind}", request)[f"{kind}Arn"]
    # Ref is the ARN, and the name an attribute; both as CloudFormation documents them.
    return str(made), {f"{kind}Arn": made, f"{kind}Name": request[f"{kind}Name"]}


def _delete(kind: str, physical: str, given: Properties) -> None:
    _call(f"Delete{kind}", {f"{kind}Name": physical.rsplit("/", 1)[-1]})


def _update_tags(physical: str, old: Properties, new: Properties) -> Created:
    kept = {tag["Key"] for tag in new.get("Tags", [])}
    STORE.untag(physical, [tag["Key"] for tag in old.get("Tags", []) if tag["Key"] not in kept])
    STORE.tag(physical, new.get("Tags", []))
    return physical, {"ModelPackageGroupArn": physical, "ModelPackageGroupName": physical.rsplit("/", 1)[-1]}


def _create_endpoint(name: str, given: Properties) -> Created:
    made = _create("Endpoint", name, _with_config_name(given))
    _wait_for_endpoint(made[0])
    return made


def _update_endpoint(physical: str, old: Properties, new: Properties) -> Created:
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
        record = get_endpoint(name)
        if record["EndpointStatus"] in ("InService", "Failed"):
            if reason := record.get("FailureReason"):
                raise ValueError(f"Endpoint {sagemaker_arn('endpoint', name)}: {reason}")
            return
        time.sleep(0.5)
    raise ValueError(
        f"Endpoint {sagemaker_arn('endpoint', name)} is not InService after {ENDPOINT_SECONDS} s."
    )
