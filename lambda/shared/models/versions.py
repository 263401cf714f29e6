"""The versions of the model, and the pointer to the live one."""

from collections.abc import Collection
from typing import Any

from boto3.dynamodb.conditions import Attr

from contracts import environment, statuses, table_keys
from contracts.statuses import VersionStatus
from shared import clock, table
from shared.aws import clients
from shared.items import LivePointer, ModelVersion

LIVE_NAME = "storyloom"
"""The name under which callers ask for the live version."""
MAY_BE_APPROVED: frozenset[VersionStatus] = frozenset({statuses.PENDING, statuses.REJECTED})
# The live version, and the previous one, cannot be rejected while people chat with them.
MAY_BE_REJECTED: frozenset[VersionStatus] = frozenset({statuses.PENDING, statuses.APPROVED, statuses.FAILED})
_MODELS = table_keys.MODELS
LIVE = table_keys.LIVE_VERSION
"""Key of the pointer's item."""
_COUNTER = table_keys.VERSION_COUNTER


def next_version() -> str:
    """Return the next version, `v1`, `v2`, …; each call counts one further."""
    return f"v{table.count_up(*_COUNTER)}"


def get(version: str) -> ModelVersion | None:
    """Read one version."""
    item = table.get(_MODELS, version)
    return ModelVersion.model_validate(item) if item else None


def list_all() -> list[ModelVersion]:
    """Read all versions, newest first."""
    found = [ModelVersion.model_validate(item) for item in table.query(_MODELS)]
    return sorted(found, key=lambda model: -model.number)


def find_by_package(model_package_arn: str) -> ModelVersion | None:
    """Read the version that a package of the Model Registry belongs to; None if there is none."""
    return next((model for model in list_all() if model.model_package_arn == model_package_arn), None)


def save(model: ModelVersion) -> None:
    """Write one version."""
    table.put(_MODELS, model.version, model.model_dump())


def set_status(version: str, status: VersionStatus) -> None:
    """Change the status of a version."""
    table.update(_MODELS, version, {"status": status})


def set_reviewed_status(version: str, status: VersionStatus, only_from: Collection[VersionStatus]) -> bool:
    """Change the status of a version after a review; returns False if it had none of these statuses."""
    allowed = Attr("status").is_in(sorted(only_from))
    return table.update(_MODELS, version, {"status": status}, only_if=allowed)


def record_reviewer(version: str, by: str, name: str) -> None:
    """Record who approved or rejected a version, and when.

    Args:
        version: the version.
        by: id of the person in the user pool, or `key:<id>`.
        name: name of the person or key.
    """
    changes = {"decided_by": by, "decided_by_name": name, "decided_at": clock.stamp()}
    table.update(_MODELS, version, changes)


def clear_packages() -> None:
    """Remove the packages of the Model Registry from the records, because the registry is being deleted."""
    for model in list_all():
        if model.model_package_arn is not None:
            table.update(_MODELS, model.version, {"model_package_arn": None})


def incompatibility_reason(model: ModelVersion) -> str | None:
    """Return why a version is incompatible with the current settings; None if it is compatible."""
    base = environment.common().base_model
    if (model.base_model, model.base_revision) == (base.id, base.revision):
        return None
    return (
        f"{model.version} was made from {model.base_model} ({model.base_revision[:12]}), and the app is set "
        f"to {base.id} ({base.revision[:12]}). Set base_model and base_model_revision back in cdk.json and "
        "deploy; then it can answer again."
    )


def live() -> LivePointer | None:
    """Read the live pointer; None before the first deployment."""
    return read_pointer(table.get(*LIVE))


def read_pointer(item: table.Item | None) -> LivePointer | None:
    """Parse the live pointer's item; None if it does not exist yet."""
    return LivePointer.model_validate(item) if item else None


def preloaded_version(model: ModelVersion) -> LivePointer | None:
    """Return the live pointer if the deployed bundle contains this version, live or previous.

    None if the version would have to be deployed.
    """
    pointer = live()
    if pointer is None or pointer.version == model.version:
        return pointer
    answering = get(pointer.version)
    beside = pointer.previous == model.version and not pointer.merged
    return pointer if beside and answering is not None and _same_base(answering, model) else None


def _same_base(one: ModelVersion, other: ModelVersion) -> bool:
    return (one.base_model, one.base_revision) == (other.base_model, other.base_revision)


def make_live(candidate: ModelVersion, bundle_uri: str, *, merged: bool = False) -> LivePointer:
    """Make a version live that passed its smoke test, and change the statuses in the same transaction.

    Making the live version live again changes nothing.

    Args:
        candidate: the version.
        bundle_uri: the bundle that the endpoint loads.
        merged: whether the bundle contains only this version.
    """
    before = live()
    if before is not None and before.version == candidate.version:
        return before
    pointer = LivePointer(
        version=candidate.version,
        previous=before.version if before else None,
        bundle_uri=bundle_uri,
        merged=merged,
        adapter_sha256=candidate.adapter_sha256,
        updated_at=clock.stamp(),
    )
    name = environment.common().table
    item = {**table.without_none(pointer.model_dump()), "pk": LIVE[0], "sk": LIVE[1]}
    operations: list[Any] = [
        {"Put": {"TableName": name, "Item": item}},
        _status(candidate.version, statuses.LIVE),
    ]
    if before is not None:
        operations.append(_status(before.version, statuses.PREVIOUS))
        if before.previous is not None and before.previous != candidate.version:
            operations.append(_status(before.previous, statuses.APPROVED))
    clients.dynamodb().transact_write_items(TransactItems=operations)
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
