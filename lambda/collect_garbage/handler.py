"""Deletes what no version needs any more, after a new one is live: copies of models, above all.

It runs before the run releases its lock, so nothing builds a bundle meanwhile. What a call leaves, the next
one deletes: each begins with what is there, not with what was made.
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
        `{"deleted": how many objects of S3 went}`
    """
    run_id = event["run_id"]
    run_records.enter(run_id, "CollectGarbage", "Deleting copies of the model that nothing needs any more.")
    found = endpoint.describe()
    if found is not None and found.busy:
        # The endpoint may be given back what it had before. The next run collects it.
        return {"deleted": 0}
    protected = Protected.read(found)
    # First what names the objects, then the objects.
    garbage.delete_unused_models(protected)
    deleted = garbage.delete_retired_bundles(protected)
    deleted += garbage.delete_run_files(run_id, protected)
    deleted += garbage.delete_unused_base_models(protected)
    log.info("Collected garbage", extra={"run_id": run_id, "objects": deleted})
    return {"deleted": deleted}
