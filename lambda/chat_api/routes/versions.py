"""The versions of the model: which there are, which answers, and saying yes or no to one."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from chat_api.dependencies import limits, spending
from chat_api.dependencies.errors import ApiError, refusals
from chat_api.dependencies.identity import MayRead, MayWrite, User
from chat_api.routes import control
from shared import clock
from shared.aws import clients
from shared.items import ModelVersion, VersionStatus
from shared.models import versions

router = APIRouter(prefix="/models", tags=["Models"], responses=refusals())

Version = Annotated[str, Path(pattern=r"^v[1-9][0-9]{0,8}$")]

_REFUSALS = refusals(402, 404, 409, 422)
_YES: frozenset[VersionStatus] = frozenset({"approved", "live", "previous"})


class Model(BaseModel):
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
    """Of the version that answered when this one was made."""
    decision: str | None
    """The gate's words."""
    stories: int | None
    words: int | None
    training_job: str | None
    created_at: clock.Utc
    decided_by: str | None
    """Id of the person in the user pool, or `key:<id>`; of a version that was decided on before ids were
    kept, the address."""
    decided_by_name: str | None
    """What the person or key was called then."""
    decided_at: clock.Utc | None


class Models(BaseModel):
    """Every version, newest first."""

    models: list[Model]


class Decided(BaseModel):
    """What was done, in words, and the version as it is now; what was asked for follows in the background."""

    message: str
    model: Model


@router.get("")
def list_versions(user: MayRead) -> Models:
    """List the versions with what each was made of and how good it is."""
    return Models(models=[_shown(model) for model in versions.list_all()])


@router.post("/{version}/activate", status_code=202, responses=_REFUSALS)
def activate(version: Version, user: MayWrite) -> Decided:
    """Have an approved version answer, such as the one before. One that answers already goes on doing so."""
    model = _model(version)
    if model.status == "live":
        return _decided(model, f"{version} answers already.")
    if model.status in {"pending", "rejected"}:
        raise ApiError(
            409,
            "not_approved",
            f"{version} is {model.status}, so it cannot answer.",
            f"Say yes to it: POST /api/models/{version}/approve, or storyloom models approve {version}.",
        )
    _refuse_misfit(model)
    _require_deployment(model, user)
    call = {"reason": f"{user.called} chose {version}", "version": version, "by": user.sub}
    started = control.ask_for_run(call)
    return _decided(model, str(started["message"]))


@router.post("/{version}/approve", status_code=202, responses=_REFUSALS)
def approve(version: Version, user: MayWrite) -> Decided:
    """Say yes to a version that waits, or that the gate refused: it is deployed. Again changes nothing."""
    model = _model(version)
    if model.status in _YES:
        return _decided(model, f"{version} is approved already.")
    if model.status == "failed":
        raise ApiError(
            409,
            "was_approved",
            f"{version} was approved, and its deployment failed.",
            f"Try it again: POST /api/models/{version}/activate, or storyloom models activate {version}.",
        )
    _refuse_misfit(model)
    _require_deployment(model, user)
    _say(model, "Approved", user)
    return _decided(model, f"You said yes to {version}. It answers as soon as the endpoint has it.")


@router.post("/{version}/reject", status_code=202, responses=_REFUSALS)
def reject(version: Version, user: MayWrite) -> Decided:
    """Say no to a version: it is kept, and never answers. Saying it again changes nothing."""
    model = _model(version)
    if model.status == "rejected":
        return _decided(model, f"{version} is rejected already.")
    if model.status in {"live", "previous"}:
        raise ApiError(
            409,
            "in_use",
            f"{version} is loaded: it answers, or is kept at hand to go back to.",
            "Have another version answer first, with activate.",
        )
    _say(model, "Rejected", user)
    return _decided(model, f"You said no to {version}. It is kept, and does not answer.")


def _require_deployment(model: ModelVersion, user: User) -> None:
    """Refuse a deployment that there is no money for, or one too many. What is loaded answers at no cost."""
    if versions.preloaded_version(model) is None:
        spending.require_machine()
    limits.admit_run(user.account)


def _say(model: ModelVersion, decision: str, user: User) -> None:
    """Write the decision into the registry, whose event has the rest done, as after one in its console."""
    if model.model_package_arn is None:
        _decide_here(model, decision, user)
    else:
        clients.sagemaker().update_model_package(
            ModelPackageArn=model.model_package_arn,
            ModelApprovalStatus="Approved" if decision == "Approved" else "Rejected",
            ApprovalDescription=f"{decision} by {user.called} ({user.sub})",
        )
    versions.record_reviewer(model.version, user.sub, user.called)


def _decide_here(model: ModelVersion, decision: str, user: User) -> None:
    """Decide about a version of an earlier deployment, whose registry was deleted with it."""
    if decision != "Approved":
        versions.set_reviewed_status(model.version, "rejected", versions.MAY_BE_REJECTED)
        return
    # First, because the run looks at it. If nothing starts then, `activate` starts it.
    versions.set_reviewed_status(model.version, "approved", versions.MAY_BE_APPROVED)
    reason = f"{user.called} approved {model.version}"
    control.ask_for_run({"reason": reason, "version": model.version, "by": user.sub})


def _refuse_misfit(model: ModelVersion) -> None:
    misfit = versions.incompatibility_reason(model)
    if misfit is not None:
        raise ApiError(
            409, "other_base_model", misfit, "Or choose a version of the base model that is set now."
        )


def _model(version: str) -> ModelVersion:
    model = versions.get(version)
    if model is None:
        raise ApiError(
            404, "not_found", f"There is no version {version}.", "GET /api/models lists the versions."
        )
    return model


def _decided(model: ModelVersion, message: str) -> Decided:
    return Decided(message=message, model=_shown(_model(model.version)))


def _shown(model: ModelVersion) -> Model:
    return Model.model_validate(model.model_dump())
