"""Model packages and their groups: the Model Registry."""

from typing import Any

from local.aws.errors import AwsError, invalid
from local.aws.sagemaker import simulated_clock
from local.aws.sagemaker.job import event_detail
from local.aws.sagemaker.record_store import STORE, Record, name_of, public_members, sagemaker_arn
from local.aws.services.eventbridge import put_event

GROUP = "model-package-group"
PACKAGE = "model-package"


def create_package_group(request: Record) -> Record:
    """Answer CreateModelPackageGroup."""
    name = request["ModelPackageGroupName"]
    record = {
        "ModelPackageGroupName": name,
        "ModelPackageGroupArn": sagemaker_arn(GROUP, name),
        "ModelPackageGroupDescription": request.get("ModelPackageGroupDescription"),
        "ModelPackageGroupStatus": "Completed",
        "CreationTime": simulated_clock.current_time(),
        "CreatedBy": {},
        "_next_version": 1,
    }
    if not STORE.add(GROUP, name, record):
        raise invalid(f"Model Package Group already exists: {sagemaker_arn(GROUP, name)}")
    STORE.tag(sagemaker_arn(GROUP, name), request.get("Tags", []))
    return {"ModelPackageGroupArn": sagemaker_arn(GROUP, name)}


def describe_package_group(request: Record) -> Record:
    """Answer DescribeModelPackageGroup."""
    return public_members(_group(request["ModelPackageGroupName"]))


def delete_package_group(request: Record) -> Record:
    """Answer DeleteModelPackageGroup; refused while it has packages."""
    name = name_of(request["ModelPackageGroupName"])
    _group(name)
    if any(package.get("ModelPackageGroupName") == name for package in STORE.all(PACKAGE)):
        raise AwsError(
            "ConflictException",
            f"Model Package Group {sagemaker_arn(GROUP, name)} cannot be deleted because it still contains "
            "Model Packages",
        )
    STORE.remove(GROUP, name)
    return {}


def summarize_package_group(record: Record) -> Record:
    """Return one entry of ListModelPackageGroups."""
    keys = (
        "ModelPackageGroupName ModelPackageGroupArn ModelPackageGroupDescription CreationTime "
        "ModelPackageGroupStatus"
    )
    return {key: record[key] for key in keys.split() if record.get(key) is not None}


def next_package_name(request: Record) -> str:
    """Return the name that CreateModelPackage will give: ``<group>/<version>``, or the package's own."""
    if group := request.get("ModelPackageGroupName"):
        record = STORE.get(GROUP, name_of(group)) or {}
        return f"{name_of(group)}/{record.get('_next_version', 1)}"
    return str(request.get("ModelPackageName", ""))


def create_package(request: Record) -> Record:
    """Answer CreateModelPackage: a version of a group, or a package without versions."""
    if bool(request.get("ModelPackageGroupName")) == bool(request.get("ModelPackageName")):
        raise invalid("You must specify exactly one of ModelPackageGroupName and ModelPackageName.")
    if request.get("ModelPackageGroupName") and request.get("Tags"):
        raise invalid("Tags cannot be supplied with ModelPackageGroupName: a version uses the group's tags.")
    versioned: dict[str, Any] = {}
    with STORE.locked():
        name = next_package_name(request)
        if request.get("ModelPackageGroupName"):
            group = _group(request["ModelPackageGroupName"])
            version = int(group["_next_version"])
            STORE.update(GROUP, group["ModelPackageGroupName"], _next_version=version + 1)
            versioned = {
                "ModelPackageGroupName": group["ModelPackageGroupName"],
                "ModelPackageVersion": version,
                "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
            }
        record = {
            **{key: value for key, value in request.items() if key not in ("Tags", "ClientToken")},
            **versioned,
            "ModelPackageArn": sagemaker_arn(PACKAGE, name),
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "CreationTime": simulated_clock.current_time(),
        }
        if not STORE.add(PACKAGE, name, record):
            raise invalid(f"Model Package already exists: {sagemaker_arn(PACKAGE, name)}")
    STORE.tag(sagemaker_arn(PACKAGE, name), request.get("Tags", []))
    _publish_state(record)
    return {"ModelPackageArn": sagemaker_arn(PACKAGE, name)}


def describe_package(request: Record) -> Record:
    """Answer DescribeModelPackage, by ARN or name."""
    return public_members(_package(request["ModelPackageName"])[1])


def update_package(request: Record) -> Record:
    """Answer UpdateModelPackage: approval, description and the customer's own properties."""
    name, record = _package(request["ModelPackageArn"])
    properties = {
        **record.get("CustomerMetadataProperties", {}),
        **request.get("CustomerMetadataProperties", {}),
    }
    for key in request.get("CustomerMetadataPropertiesToRemove", []):
        properties.pop(key, None)
    changes = {key: request[key] for key in ("ModelApprovalStatus", "ApprovalDescription") if key in request}
    STORE.update(PACKAGE, name, CustomerMetadataProperties=properties, **changes)
    if changes:
        _publish_state(_package(name)[1])
    return {"ModelPackageArn": sagemaker_arn(PACKAGE, name)}


def delete_package(request: Record) -> Record:
    """Answer DeleteModelPackage."""
    name, _ = _package(request["ModelPackageName"])
    STORE.remove(PACKAGE, name)
    return {}


def summarize_package(record: Record) -> Record:
    """Return one entry of ListModelPackages."""
    keys = (
        "ModelPackageName ModelPackageGroupName ModelPackageVersion ModelPackageArn ModelPackageDescription "
        "CreationTime ModelPackageStatus ModelApprovalStatus"
    )
    return {key: record[key] for key in keys.split() if key in record}


def matches_package_filters(record: Record, request: Record) -> bool:
    """Apply the filters of ListModelPackages that are not common to all lists."""
    group = request.get("ModelPackageGroupName")
    approval = request.get("ModelApprovalStatus")
    return (not group or record.get("ModelPackageGroupName") == name_of(group)) and (
        not approval or record.get("ModelApprovalStatus") == approval
    )


def _group(arn_or_name: str) -> Record:
    record = STORE.get(GROUP, name_of(arn_or_name))
    if record is None:
        raise invalid(f"ModelPackageGroup {sagemaker_arn(GROUP, name_of(arn_or_name))} does not exist.")
    return record


def _package(arn_or_name: str) -> tuple[str, Record]:
    name = arn_or_name.partition(":model-package/")[2] or arn_or_name
    record = STORE.get(PACKAGE, name)
    if record is None:
        raise invalid(f"ModelPackage {sagemaker_arn(PACKAGE, name)} does not exist.")
    return name, record


def _publish_state(record: Record) -> None:
    put_event(
        "aws.sagemaker",
        "SageMaker Model Package State Change",
        event_detail(record),
        [record["ModelPackageArn"]],
    )
