"""Begin a run that trains nothing, and only activates an existing version."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import statuses
from shared.aws import chat_stack
from shared.hosting import hosting_state
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import lock, run_records

log = Logger(service="activate")


class NotDeployable(Exception):  # noqa: N818 - the name is what a person reads in the console
    """This version cannot be deployed."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Check that the version can be deployed. If the endpoint has loaded it already, it is live at once;
    otherwise a deployment follows.

    Args:
        event: `{"run_id", "reason", "execution_arn", "input", "version"}`; `input` is the execution's input.
        context: Lambda's.

    Returns:
        What `Register` returns for a new version: `{"version", "model_package_arn", "status", "message"}`,
        and `preloaded`: whether it is live already.

    Raises:
        NotDeployable: the version does not exist, was not approved, or is incompatible with the settings.
        shared.aws.chat_stack.ChatNotDeployedError: the version has to be deployed, and the Chat stack is not.
        shared.runs.lock.AnotherRunInProgress: another run holds the lock.
    """
    run_id, version = event["run_id"], event["version"]
    lock.ensure_held(run_id, event["execution_arn"])
    known = {
        "reason": event["reason"],
        "execution_arn": event["execution_arn"],
        "started_by": event.get("input", {}).get("by"),
    }
    run_records.enter(run_id, "Activate", f"Checking {version}.", **known)
    model = versions.get(version)
    if model is None:
        raise NotDeployable(f"There is no version {version}. storyloom models lists the versions.")
    if model.status in {statuses.PENDING, statuses.REJECTED}:
        raise NotDeployable(
            f"{version} is {model.status}. Approve it first: storyloom models approve {version}"
        )
    misfit = versions.incompatibility_reason(model)
    if misfit is not None:
        raise NotDeployable(misfit)
    figures = {
        "base_perplexity": model.base_perplexity,
        "tuned_perplexity": model.tuned_perplexity,
        "adapter_sha256": model.adapter_sha256,
    }
    preloaded = _switch(model)
    if not preloaded:
        chat_stack.require_deployed(version)
    message = f"{version} was already loaded, and is live." if preloaded else f"{version} can be deployed."
    run_records.enter(run_id, "Activate", message, version=version, **figures)
    log.info("Activating", extra={"run_id": run_id, "version": version, "preloaded": preloaded})
    return {
        "version": version,
        "preloaded": preloaded,
        "model_package_arn": model.model_package_arn,
        "status": statuses.APPROVED,
        "message": f"{version} is live: {event['reason']}.",
    }


def _switch(model: ModelVersion) -> bool:
    """Make a version live that is loaded beside the live one; returns False if it is not.

    It has passed a smoke test before, and is in the bundle that a sleeping endpoint wakes with. So nothing is
    copied or started, and nothing costs money.
    """
    pointer = versions.preloaded_version(model)
    if pointer is None:
        return False
    versions.make_live(model, pointer.bundle_uri)
    hosting_state.record_version(model.version)
    return True
