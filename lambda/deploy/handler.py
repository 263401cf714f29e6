"""Build the hosting bundle, and start its deployment to the endpoint; the smoke test finishes it."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment
from deploy import bundle
from shared import clock
from shared.aws import chat_stack
from shared.hosting import endpoint, endpoint_configs, hosting_state, instances
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import run_records

log = Logger(service="deploy")


class MonthlyLimitReached(Exception):  # noqa: N818 - the name is what a person reads in the console
    """The month's limit leaves too little for the instance that would host the version."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Bundle a version, together with the live one if possible, and start the endpoint's update.

    Args:
        event: `{"run_id", "version"}`.
        context: Lambda's.

    Returns:
        `{"version", "bundle_uri", "merged", "endpoint_config", "started_at"}`

    Raises:
        shared.aws.chat_stack.ChatNotDeployedError: nothing would put the endpoint to sleep.
        MonthlyLimitReached: the version is kept, and can be activated when the limit allows it.
    """
    run_id = event["run_id"]
    version = event["version"]
    model = versions.get(version)
    if model is None:
        raise bundle.IncompleteModelError(f"{version} is not registered.")
    chat_stack.require_deployed(version)
    run_records.enter(run_id, "Deploy", f"Bundling {version} and the base model for the endpoint.")
    made = bundle.build(model, _previous(version))
    found = endpoint.describe()
    # An endpoint that had to use another instance type of the list keeps it.
    instance = instances.current_or_default_instance(found.config if found else None)
    config = endpoint_configs.ensure_config(made.uri, instance)
    # A retry of this state, or of the run, may request again what SageMaker refused before.
    hosting_state.clear_refusals()
    if found is None:
        hosting_state.mark_waking(version, config)
    progress = endpoint.converge(config, watched=True)
    if progress.unpaid:
        raise MonthlyLimitReached(progress.message)
    if progress.state != "failed":
        # It is not put to sleep during the update; but it may be if it cannot be updated.
        hosting_state.touch(at_once=True)
        run_records.enter(run_id, "SmokeTest", progress.message)
    log.info("Deploying", extra={"run_id": run_id, "version": version, "endpoint_config": config})
    return {
        "version": version,
        "bundle_uri": made.uri,
        "merged": made.merged,
        "endpoint_config": config,
        "started_at": clock.stamp(),
    }


def _previous(version: str) -> ModelVersion | None:
    """Return the live version if it has this base model, so that going back to it is instant."""
    pointer = versions.live()
    if pointer is None or pointer.version == version:
        return None
    model = versions.get(pointer.version)
    base = environment.common().base_model
    if model is None or (model.base_model, model.base_revision) != (base.id, base.revision):
        return None
    return model
