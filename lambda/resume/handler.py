"""Begin the new execution of a failed run, which continues where the run failed."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import statuses
from shared.models import versions
from shared.runs import lock, run_records

log = Logger(service="resume")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Check the lock and reopen the run's record. A second call for one execution changes nothing more.

    Args:
        event: `{"run_id", "reason", "execution_arn", "state"}`.
        context: Lambda's.

    Raises:
        shared.runs.lock.AnotherRunInProgress: another run holds the lock.
    """
    run_id, state = event["run_id"], event["state"]
    lock.ensure_held(run_id, event["execution_arn"])
    run_records.reopen(run_id, event["execution_arn"], state, event["reason"])
    run = run_records.get(run_id)
    model = versions.get(run.version) if run is not None and run.version else None
    if state == "Deploy" and model is not None and model.status == statuses.FAILED:
        # It failed with the run's first deployment.
        versions.set_status(model.version, statuses.APPROVED)
    log.info("Resumed", extra={"run_id": run_id, "state": state})
