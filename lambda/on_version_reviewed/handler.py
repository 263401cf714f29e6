"""Somebody said yes or no to a version in the Model Registry: on our page, or in SageMaker's own console.

The registry is where it is decided, whoever asks; so there is one way from a yes to a deployment.
"""

import json
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment
from shared.aws import clients
from shared.models import versions

log = Logger(service="on_version_reviewed")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Note the decision, and after a yes have the version deployed. Delivered twice, it is done once.

    Args:
        event: EventBridge's `SageMaker Model Package State Change`.
        context: Lambda's.

    Returns:
        `{"version": or None where the package is none of ours, "changed": bool}`
    """
    arn, decision = event["detail"]["ModelPackageArn"], event["detail"]["ModelApprovalStatus"]
    model = versions.find_by_package(arn)
    if model is None:
        # Register makes the package before the version: its own event may come first, and decides nothing.
        log.info("No version is this package", extra={"model_package": arn})
        return {"version": None, "changed": False}
    if decision == "Approved":
        changed = model.status in versions.MAY_BE_APPROVED
        if changed:
            # First: after a crash in between, the retry starts the same run, which start_run knows.
            _deploy(model.version, event["time"])
            versions.set_reviewed_status(model.version, "approved", versions.MAY_BE_APPROVED)
    else:
        changed = versions.set_reviewed_status(model.version, "rejected", versions.MAY_BE_REJECTED)
    log.info("Decided", extra={"version": model.version, "decision": decision, "changed": changed})
    return {"version": model.version, "changed": changed}


def _deploy(version: str, decided_at: str) -> None:
    call = {"reason": f"{version} was approved", "version": version, "due": decided_at}
    clients.lambdas().invoke(
        FunctionName=environment.read(environment.Starter).start_run_arn,
        InvocationType="Event",
        Payload=json.dumps(call).encode(),
    )
