"""Delete bundles, run files, base models and SageMaker models that no version, endpoint or batch needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from contracts import environment, s3_keys, statuses
from shared import clock
from shared.aws import clients, sagemaker_calls
from shared.batch_inference import batch_records, transform_jobs
from shared.hosting import endpoint_configs, hosting_state
from shared.hosting.endpoint import Endpoint
from shared.items import ModelVersion
from shared.models import versions

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

MERGED_KEPT = 5
"""How many of the newest versions can be deployed again if their base is hosted merged."""
_NEVER_AGAIN = frozenset({statuses.REJECTED, statuses.FAILED})
"""A version is only `failed` by its own fault; one that lacked an instance stays `approved`."""
_MOST_KEYS_A_CALL = 1000
_LONGEST_RUN = timedelta(days=14)
"""No run takes longer, including a week's wait for approval; nobody resumes its training after that."""


@dataclass(frozen=True)
class Protected:
    """The names of what is in use: live, previous, in service, or read by a batch."""

    bundles: frozenset[str]
    """Versions whose hosting bundles stay."""
    configs: frozenset[str]
    """Endpoint configurations that stay, with their models, whichever version they are for."""
    batches: frozenset[str]
    """Versions whose models and archives transform jobs use."""
    merged_runs: frozenset[str]
    """Runs whose merged weights stay."""
    revisions: frozenset[str]
    """Revisions of the versions' base models."""

    @classmethod
    def read(cls, found: Endpoint | None) -> "Protected":
        """Read from the table what is in use; `found` is the endpoint as SageMaker describes it."""
        pointer, state, models = versions.live(), hosting_state.state(), versions.list_all()
        configs = {found.config if found else None, state.endpoint_config, state.requested} - {None}
        active = [
            batch for batch_id in batch_records.list_active_ids() if (batch := batch_records.get(batch_id))
        ]
        batches = {str(batch.version) for batch in active}
        bundles = {endpoint_configs.version_of(config) for config in configs} | {
            s3_keys.bundled_for(batch.bundle_uri) for batch in active if batch.bundle_uri
        }
        answering: set[str | None] = set()
        if pointer is not None:
            answering = {pointer.version, pointer.previous}
            bundles |= {s3_keys.bundled_for(pointer.bundle_uri), *answering}
        kept = [model for model in models if model.status not in _NEVER_AGAIN]
        deployable = {model.version for model in kept[:MERGED_KEPT]}
        return cls(
            bundles=frozenset(bundle for bundle in bundles if bundle),
            configs=frozenset(str(config) for config in configs),
            batches=frozenset(batches),
            merged_runs=frozenset(
                model.run_id
                for model in models
                if model.status == statuses.PENDING or model.version in deployable | answering
            ),
            revisions=frozenset({environment.common().base_model.revision, *map(_revision, kept)}),
        )


def _revision(model: ModelVersion) -> str:
    return model.base_revision


class NotDeletedError(Exception):
    """S3 did not delete an object; the next run tries again."""


def folders(prefix: str) -> set[str]:
    """Return the names of the folders right below a prefix."""
    pages = (
        clients.s3().get_paginator("list_objects_v2").paginate(Bucket=_bucket(), Prefix=prefix, Delimiter="/")
    )
    return {
        found["Prefix"].removeprefix(prefix).rstrip("/")
        for page in pages
        for found in page.get("CommonPrefixes", [])
    }


def delete_below(prefix: str, *, tag_first: bool = False) -> int:
    """Delete every object below a prefix; returns their number.

    Raises:
        NotDeletedError: names an object that was not deleted.
    """
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=_bucket(), Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    if tag_first:
        for key in keys:
            clients.s3().put_object_tagging(
                Bucket=_bucket(), Key=key, Tagging={"TagSet": [{"Key": s3_keys.RETIRED, "Value": "true"}]}
            )
    for start in range(0, len(keys), _MOST_KEYS_A_CALL):
        some: list[ObjectIdentifierTypeDef] = [
            {"Key": key} for key in keys[start : start + _MOST_KEYS_A_CALL]
        ]
        answer = clients.s3().delete_objects(Bucket=_bucket(), Delete={"Objects": some, "Quiet": True})
        for error in answer.get("Errors", []):
            raise NotDeletedError(f"{error.get('Key')} could not be deleted: {error.get('Message')}.")
    return len(keys)


def _bucket() -> str:
    return environment.common().artifacts_bucket


def delete_retired_bundles(protected: Protected) -> int:
    """Delete the bundles of all other versions, and their archives; returns the number of objects.

    A bundle is a copy of the base model, so only those in use stay. Each object is tagged first: if this
    function dies, the bucket's lifecycle deletes what is tagged. A bundle that is built again does not use
    it.
    """
    deleted = 0
    for version in folders(s3_keys.HOSTING) - protected.bundles:
        deleted += delete_below(s3_keys.hosting(version), tag_first=True)
    for version in folders(s3_keys.TRANSFORM_MODELS) - protected.bundles - protected.batches:
        deleted += delete_below(s3_keys.transform_models(version))
    return deleted


def delete_run_files(run_id: str, protected: Protected) -> int:
    """Delete checkpoints and merged weights that no run or version needs; returns the number of objects.

    Args:
        run_id: the run that is ending, whose training is over.
        protected: what stays.
    """
    deleted = 0
    for other in folders(s3_keys.RUNS):
        if other == run_id or _is_old(other):
            deleted += delete_below(s3_keys.checkpoint_files(other))
        if other not in protected.merged_runs and _is_old(other):
            deleted += delete_below(s3_keys.merged(other))
    return deleted


def _is_old(run_id: str) -> bool:
    try:
        started = datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return False
    return clock.now() - started > _LONGEST_RUN


def delete_unused_base_models(protected: Protected) -> int:
    """Delete base models that no version needs; returns the number of objects.

    A base model stays if a version of it may be deployed again, because its bundle is built from it.
    """
    return sum(
        delete_below(s3_keys.base_model(slug, revision))
        for slug in folders(s3_keys.BASE_MODELS)
        for revision in folders(f"{s3_keys.BASE_MODELS}{slug}/") - protected.revisions
    )


def delete_unused_models(protected: Protected) -> None:
    """Delete unused endpoint configurations and then unused models.

    An endpoint's own configuration must never be deleted: SageMaker would then refuse UpdateEndpoint.
    """
    for config in _names("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"):
        if _is_unused(config, protected):
            _delete("delete_endpoint_config", EndpointConfigName=config)
    for model in _names("list_models", "Models", "ModelName"):
        if environment.common().names.is_batch_model(model):
            unused = transform_jobs.version_of_model(model) not in protected.batches
        else:
            unused = _is_unused(model, protected)
        if unused:
            _delete("delete_model", ModelName=model)


def _is_unused(name: str, protected: Protected) -> bool:
    """Return whether a model or configuration of this app is for a bundle that is deleted."""
    if not environment.common().names.is_endpoint_config(name) or name in protected.configs:
        return False
    return endpoint_configs.version_of(name) not in protected.bundles


def _names(operation: str, listed: str, name: str) -> Iterator[str]:
    pages: Any = clients.sagemaker().get_paginator(operation)  # type: ignore[call-overload]
    for page in pages.paginate(NameContains=environment.common().name):
        for found in page[listed]:
            yield found[name]


def _delete(operation: str, **named: str) -> None:
    try:
        getattr(clients.sagemaker(), operation)(**named)
    except ClientError as error:
        if not sagemaker_calls.is_not_found(error):
            raise
