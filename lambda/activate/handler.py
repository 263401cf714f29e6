"""Begins a run that trains nothing: it only has a version answer that there is already."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.aws import chat_stack
from shared.hosting import hosting_state
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import lock, run_records

log = Logger(service="activate")


class NotDeployable(Exception):  # noqa: N818 - the name is what a person reads in the console
    """This version cannot answer."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look whether the version can answer. One that the endpoint has loaded already does so at once; for
    another a deployment like every other follows.

    Args:
        event: `{"run_id", "reason", "execution_arn", "input", "version"}`; `input`: what the execution
            began with.
        context: Lambda's.

    Returns:
        What `Register` returns for a new version: `{"version", "model_package_arn", "status", "message"}`,
        and `at_hand`: whether it answers already.

    Raises:
        NotDeployable: where there is no such version, it was not approved, or it fits no longer.
        shared.aws.chat_stack.ChatNotDeployedError: if it has to be hosted, and nothing would put it to sleep.
        shared.runs.lock.AnotherRunInProgress: where this execution does not have the lock and cannot get it.
    """
    run_id, version = event["run_id"], event["version"]
    lock.ensure_held(run_id, event["execution_arn"])
    known = {
        "reason": event["reason"],
        "execution_arn": event["execution_arn"],
        "started_by": event.get("input", {}).get("by"),
    }
    run_records.enter(run_id, "Activate", f"Looking at {version}.", **known)
    model = versions.get(version)
    if model is None:
        raise NotDeployable(f"There is no version {version}. storyloom models lists the versions.")
    if model.status in {"pending", "rejected"}:
        raise NotDeployable(
            f"{version} is {model.status}: say yes to it first, with storyloom models approve {version}."
        )
    misfit = versions.incompatibility_reason(model)
    if misfit is not None:
        raise NotDeployable(misfit)
    figures = {
        "base_perplexity": model.base_perplexity,
        "tuned_perplexity": model.tuned_perplexity,
        "adapter_sha256": model.adapter_sha256,
    }
    at_hand = _switch(model)
    if not at_hand:
        chat_stack.require_deployed(version)
    message = f"{version} was loaded, and answers at once." if at_hand else f"{version} can answer."
    run_records.enter(run_id, "Activate", message, version=version, **figures)
    log.info("Activating", extra={"run_id": run_id, "version": version, "at_hand": at_hand})
    return {
        "version": version,
        "at_hand": at_hand,
        "model_package_arn": model.model_package_arn,
        "status": "approved",
        "message": f"{version} answers: {event['reason']}.",
    }


def _switch(model: ModelVersion) -> bool:
    """Have a version answer that is loaded beside the live one, where it is.

    It has answered before, and it stays in the bundle that an endpoint which sleeps will wake with: nothing
    is copied, started or asked, and nothing costs.
    """
    pointer = versions.preloaded_version(model)
    if pointer is None:
        return False
    versions.make_live(model, pointer.bundle_uri)
    hosting_state.record_version(model.version)
    return True
