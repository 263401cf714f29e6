"""Builds the hosting bundle and asks SageMaker to host it; the smoke test sees it through."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from deploy import bundle
from shared import clock, endpoint, environment, hosting, machines, runs, versions

log = Logger(service="deploy")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Bundle a version with the live one, and start the endpoint's change.

    Args:
        event: `{"run_id", "version"}`.
        context: Lambda's.

    Returns:
        `{"version", "bundle_uri", "endpoint_config", "started_at"}`
    """
    run_id = event["run_id"]
    version = event["version"]
    model = versions.get(version)
    if model is None:
        raise bundle.IncompleteModelError(f"{version} is not registered.")
    runs.enter(run_id, "Deploy", f"Putting {version} and the base model together for the endpoint.")
    adapters = {version: model.adapter_uri, **_previous(version)}
    bundle_uri = bundle.build(version, adapters)
    found = endpoint.describe()
    # An endpoint that had to take another machine of the list stays on it.
    instance = machines.staying_with(found.config if found else None)
    config = endpoint.ensure_config(version, bundle_uri, instance)
    # A retry of this state, or of the run, may ask SageMaker again for what it refused before.
    hosting.forget_refusals()
    if found is None:
        hosting.mark_waking(version, config)
    hosting.touch(at_once=True)
    progress = endpoint.converge(config)
    runs.enter(run_id, "SmokeTest", progress.message)
    log.info("Deploying", extra={"run_id": run_id, "version": version, "endpoint_config": config})
    return {
        "version": version,
        "bundle_uri": bundle_uri,
        "endpoint_config": config,
        "started_at": clock.stamp(),
    }


def _previous(version: str) -> dict[str, str]:
    """Return the live version's adapter, where it fits this base model, so that going back is instant."""
    pointer = versions.live()
    if pointer is None or pointer.version == version:
        return {}
    model = versions.get(pointer.version)
    base = environment.common().base_model
    if model is None or (model.base_model, model.base_revision) != (base.id, base.revision):
        return {}
    return {model.version: model.adapter_uri}
