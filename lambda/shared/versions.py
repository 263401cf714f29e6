"""The versions of the model, and the pointer to the one that answers."""

from typing import Any

from shared import aws, clock, environment, table
from shared.models import LivePointer, ModelVersion, VersionStatus

_MODELS = "MODELS"
_LIVE = ("POINTERS", "LIVE")
_COUNTER = ("POINTERS", "VERSIONS")


def next_version() -> str:
    """Count the next version: `v1`, `v2`, …"""
    return f"v{table.count_up(*_COUNTER)}"


def get(version: str) -> ModelVersion | None:
    """Read one version."""
    item = table.get(_MODELS, version)
    return ModelVersion.model_validate(item) if item else None


def save(model: ModelVersion) -> None:
    """Write one version."""
    table.put(_MODELS, model.version, model.model_dump())


def set_status(version: str, status: VersionStatus) -> None:
    """Change what a version is good for."""
    table.update(_MODELS, version, {"status": status})


def live() -> LivePointer | None:
    """Read which version answers, or None before the first."""
    item = table.get(*_LIVE)
    return LivePointer.model_validate(item) if item else None


def make_live(candidate: ModelVersion, bundle_uri: str) -> LivePointer:
    """Move the pointer to a version that passed its smoke test, and the statuses with it, all or nothing.

    Making the live version live again changes nothing.
    """
    before = live()
    if before is not None and before.version == candidate.version:
        return before
    pointer = LivePointer(
        version=candidate.version,
        previous=before.version if before else None,
        bundle_uri=bundle_uri,
        adapter_sha256=candidate.adapter_sha256,
        updated_at=clock.stamp(),
    )
    name = environment.common().table
    item = {**table.without_none(pointer.model_dump()), "pk": _LIVE[0], "sk": _LIVE[1]}
    operations: list[Any] = [{"Put": {"TableName": name, "Item": item}}, _status(candidate.version, "live")]
    if before is not None:
        operations.append(_status(before.version, "previous"))
        if before.previous is not None and before.previous != candidate.version:
            operations.append(_status(before.previous, "approved"))
    aws.dynamodb().transact_write_items(TransactItems=operations)
    return pointer


def _status(version: str, status: VersionStatus) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": environment.common().table,
            "Key": {"pk": _MODELS, "sk": version},
            "UpdateExpression": "SET #s = :s",
            "ExpressionAttributeNames": {"#s": "status"},
            "ExpressionAttributeValues": {":s": status},
        }
    }
