"""What must stay: bundles that are live, previous, in service or read by a batch, and their sources."""

from dataclasses import dataclass

from contracts import environment, s3_keys
from shared.batch_inference import batch_records
from shared.hosting import endpoint_configs, hosting_state
from shared.hosting.endpoint import Endpoint
from shared.items import ModelVersion
from shared.models import versions

MERGED_KEPT = 5
"""How many of the newest versions can be deployed again if their base is hosted merged."""
_NEVER_AGAIN = frozenset({"rejected", "failed"})
"""A version is `failed` by its own fault only; one that lacked an instance stays `approved`."""


@dataclass(frozen=True)
class Protected:
    """What is in use, by name."""

    bundles: frozenset[str]
    """Versions whose hosting bundle stays."""
    configs: frozenset[str]
    """Endpoint configurations that stay, with their models, whichever version they are for."""
    batches: frozenset[str]
    """Versions whose models and archives transform jobs use."""
    merged_runs: frozenset[str]
    """Runs whose merged weights stay."""
    revisions: frozenset[str]
    """Revisions of the base models that versions are made of."""

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
                if model.status == "pending" or model.version in deployable | answering
            ),
            revisions=frozenset({environment.common().base_model.revision, *map(_revision, kept)}),
        )


def _revision(model: ModelVersion) -> str:
    return model.base_revision
