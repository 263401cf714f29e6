"""Handle the review of a version in the Model Registry, on the page or in SageMaker's own console.

Every review goes through the registry, so there is one way from an approval to a deployment.
"""

import json
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment, statuses
from shared.aws import clients
from shared.models import versions

log = Logger(service="on_version_reviewed")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Record the review, and deploy an approved version. A duplicate event changes nothing.

    Args:
        event: EventBridge's `SageMaker Model Package State Change`.
        context: Lambda's.

    Returns:
        `{"version": or None if the package is of no version, "changed": bool}`
    """
    arn, decision = event["detail"]["ModelPackageArn"], event["detail"]["ModelApprovalStatus"]
    model = versions.find_by_package(arn)
    if model is None:
        # Register creates the package before the version. The event of that may arrive first, and is no
        # review.
        log.info("The package belongs to no version", extra={"model_package": arn})
        return {"version": None, "changed": False}
    if decision == "Approved":
        changed = model.status in versions.MAY_BE_APPROVED
        if changed:
            # Deploy first: after a crash in between, the retry starts the same run, which start_run
            # recognises.
            _deploy(model.version, event["time"])
            versions.set_reviewed_status(model.version, statuses.APPROVED, versions.MAY_BE_APPROVED)
    else:
        changed = versions.set_reviewed_status(model.version, statuses.REJECTED, versions.MAY_BE_REJECTED)
    log.info("Decided", extra={"version": model.version, "decision": decision, "changed": changed})
    return {"version": model.version, "changed": changed}


def _deploy(version: str, decided_at: str) -> None:
    call = {"reason": f"{version} was approved", "version": version, "due": decided_at}
    clients.lambdas().invoke(
        FunctionName=environment.read(environment.Starter).start_run_arn,
        InvocationType="Event",
        Payload=json.dumps(call).encode(),
    )
