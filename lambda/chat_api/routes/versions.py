"""Routes of the versions: list, activate, approve and reject."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from chat_api.dependencies.identity import RequireReadScope, RequireWriteScope
from chat_api.dependencies.responses import error_responses
from chat_api.services import version_review
from contracts.statuses import VersionStatus
from shared import clock
from shared.items import ModelVersion
from shared.models import versions

router = APIRouter(prefix="/models", tags=["Models"], responses=error_responses())

VersionName = Annotated[str, Path(pattern=r"^v[1-9][0-9]{0,8}$")]

_ERRORS = error_responses(402, 404, 409, 422)


class VersionInfo(BaseModel):
    """One version of the model."""

    version: str
    run_id: str
    status: VersionStatus
    base_model: str
    base_revision: str
    adapter_sha256: str
    model_package_arn: str | None
    """The version in SageMaker's Model Registry."""
    base_perplexity: float | None
    tuned_perplexity: float | None
    live_perplexity: float | None
    """That of the version that was live when this one was trained."""
    decision: str | None
    """The gate's reason."""
    stories: int | None
    words: int | None
    training_job: str | None
    created_at: clock.Utc
    decided_by: str | None
    """The person's id in the user pool, or `key:<id>`; the address if the decision was made before ids were
    recorded."""
    decided_by_name: str | None
    """The name of the person or key at that time."""
    decided_at: clock.Utc | None


class VersionList(BaseModel):
    """Every version, newest first."""

    models: list[VersionInfo]


class ReviewedVersion(BaseModel):
    """The version as it is now, and what happens next in the background."""

    message: str
    model: VersionInfo


@router.get("")
def list_versions(user: RequireReadScope) -> VersionList:
    """List the versions with their stories and perplexities."""
    return VersionList(models=[_version_info(model) for model in versions.list_all()])


@router.post("/{version}/activate", status_code=202, responses=_ERRORS)
def activate_version(version: VersionName, user: RequireWriteScope) -> ReviewedVersion:
    """Make an approved version live, such as the one before. If it is live already, nothing changes."""
    return _reviewed(
        version, version_review.request_activation(version, user.sub, user.account, user.display_name)
    )


@router.post("/{version}/approve", status_code=202, responses=_ERRORS)
def approve_version(version: VersionName, user: RequireWriteScope) -> ReviewedVersion:
    """Approve a version that waits, or that the gate rejected: it is deployed. Again changes nothing."""
    return _reviewed(
        version, version_review.record_approval(version, user.sub, user.account, user.display_name)
    )


@router.post("/{version}/reject", status_code=202, responses=_ERRORS)
def reject_version(version: VersionName, user: RequireWriteScope) -> ReviewedVersion:
    """Reject a version: it is kept, and never answers. Rejecting it again changes nothing."""
    return _reviewed(version, version_review.record_rejection(version, user.sub, user.display_name))


def _reviewed(version: str, message: str) -> ReviewedVersion:
    return ReviewedVersion(message=message, model=_version_info(version_review.get_version(version)))


def _version_info(model: ModelVersion) -> VersionInfo:
    return VersionInfo.model_validate(model.model_dump())
