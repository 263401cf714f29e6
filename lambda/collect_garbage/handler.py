"""Delete what no version needs after a new one is live, mainly copies of models.

This happens before the run releases its lock, so nothing builds a bundle meanwhile. The next call deletes
what a call leaves, because each begins with what exists.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from collect_garbage import garbage
from collect_garbage.garbage import Protected
from shared.hosting import endpoint
from shared.runs import run_records

log = Logger(service="collect_garbage")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Delete bundles, SageMaker models, checkpoints, merged weights and base models that nothing needs.

    Args:
        event: `{"run_id"}`.
        context: Lambda's.

    Returns:
        `{"deleted": number of deleted S3 objects}`
    """
    run_id = event["run_id"]
    run_records.enter(run_id, "CollectGarbage", "Deleting copies of the model that nothing needs any more.")
    found = endpoint.describe()
    if found is not None and found.busy:
        # The endpoint may be rolled back to its earlier configuration. The next run collects the garbage.
        return {"deleted": 0}
    protected = Protected.read(found)
    # First the models and configurations that refer to the objects, then the objects.
    garbage.delete_unused_models(protected)
    deleted = garbage.delete_retired_bundles(protected)
    deleted += garbage.delete_run_files(run_id, protected)
    deleted += garbage.delete_unused_base_models(protected)
    log.info("Collected garbage", extra={"run_id": run_id, "objects": deleted})
    return {"deleted": deleted}
