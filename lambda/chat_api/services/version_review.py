"""Approve, reject and activate versions of the model."""

from typing import Literal

from chat_api.errors import ApiError
from chat_api.services import limits, run_control
from contracts import statuses
from contracts.statuses import ReviewDecision, VersionStatus
from shared.aws import clients
from shared.items import ModelVersion
from shared.models import versions

_ALREADY_APPROVED: frozenset[VersionStatus] = frozenset({statuses.APPROVED, statuses.LIVE, statuses.PREVIOUS})


def request_activation(version: str, caller: str, account: str, name: str) -> str:
    """Deploy an approved version, so that it answers.

    Args:
        version: the version's name.
        caller: the caller's id.
        account: whose daily limit applies.
        name: the caller's name, for the run's record.

    Returns:
        A message about what happens.

    Raises:
        ApiError: there is no such version, it is not approved or incompatible, or a limit is reached.
    """
    model = get_version(version)
    if model.status == statuses.LIVE:
        return f"{version} is live already."
    if model.status in {statuses.PENDING, statuses.REJECTED}:
        raise ApiError(
            "not_approved",
            f"{version} is {model.status}, so it cannot answer.",
            f"Approve it: POST /api/models/{version}/approve, or storyloom models approve {version}.",
        )
    _check_deployable(model, account)
    event = {"reason": f"{name} chose {version}", "version": version, "by": caller}
    return str(run_control.invoke_start_run(event)["message"])


def record_approval(version: str, caller: str, account: str, name: str) -> str:
    """Approve a version that waits, or that the gate rejected: it is deployed.

    Returns:
        A message about what happens.

    Raises:
        ApiError: there is no such version, its deployment failed, it is incompatible, or a limit is reached.
    """
    model = get_version(version)
    if model.status in _ALREADY_APPROVED:
        return f"{version} is approved already."
    if model.status == statuses.FAILED:
        raise ApiError(
            "was_approved",
            f"{version} was approved, and its deployment failed.",
            f"Try again: POST /api/models/{version}/activate, or storyloom models activate {version}.",
        )
    _check_deployable(model, account)
    _record_decision(model, statuses.APPROVED, caller, name)
    return f"You approved {version}. It answers as soon as it is deployed."


def record_rejection(version: str, caller: str, name: str) -> str:
    """Reject a version: it is kept, and never answers.

    Returns:
        A message about what happens.

    Raises:
        ApiError: there is no such version, or it is loaded.
    """
    model = get_version(version)
    if model.status == statuses.REJECTED:
        return f"{version} is rejected already."
    if model.status in {statuses.LIVE, statuses.PREVIOUS}:
        raise ApiError(
            "in_use",
            f"{version} is loaded: it is the live version, or the one before it.",
            "Activate another version first.",
        )
    _record_decision(model, statuses.REJECTED, caller, name)
    return f"You rejected {version}. It is kept, and does not answer."


def get_version(version: str) -> ModelVersion:
    """Return a version's record.

    Raises:
        ApiError: there is no such version.
    """
    model = versions.get(version)
    if model is None:
        raise ApiError("not_found", f"There is no version {version}.", "GET /api/models lists the versions.")
    return model


def _check_deployable(model: ModelVersion, account: str) -> None:
    """Refuse a deployment that is incompatible, exceeds the month's limit, or is one too many today.

    A version that is loaded needs no new instance, so it has no additional cost.
    """
    reason = versions.incompatibility_reason(model)
    if reason is not None:
        raise ApiError("other_base_model", reason, "Or choose a version of the base model that is set now.")
    if versions.preloaded_version(model) is None:
        limits.require_endpoint_budget()
    limits.enforce_run_limit(account)


def _record_decision(model: ModelVersion, decision: ReviewDecision, caller: str, name: str) -> None:
    """Write the decision into the registry; its event causes the rest, as for a decision in its console."""
    if model.model_package_arn is None:
        _decide_without_registry(model, decision, caller, name)
    else:
        status: Literal["Approved", "Rejected"] = "Approved" if decision == statuses.APPROVED else "Rejected"
        clients.sagemaker().update_model_package(
            ModelPackageArn=model.model_package_arn,
            ModelApprovalStatus=status,
            ApprovalDescription=f"{status} by {name} ({caller})",
        )
    versions.record_reviewer(model.version, caller, name)


def _decide_without_registry(model: ModelVersion, decision: ReviewDecision, caller: str, name: str) -> None:
    """Decide about a version of an earlier deployment, whose registry was deleted with it."""
    if decision == statuses.REJECTED:
        versions.set_reviewed_status(model.version, statuses.REJECTED, versions.MAY_BE_REJECTED)
        return
    # First, because the run reads it. If no run starts then, `activate` starts it.
    versions.set_reviewed_status(model.version, statuses.APPROVED, versions.MAY_BE_APPROVED)
    reason = f"{name} approved {model.version}"
    run_control.invoke_start_run({"reason": reason, "version": model.version, "by": caller})
