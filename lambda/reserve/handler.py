"""Reserve the most that the jobs of a run may cost, or end the run before any of them starts."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.runs import run_records
from shared.spending import run_costs
from shared.spending.spending_refused import SpendingRefused

log = Logger(service="reserve")


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Reserve the training or search and the evaluation in the ledger. Repeating the call changes nothing.

    Args:
        event: `{"run_id", "jobs", "tune", "estimate"}`, the last three as `Assemble` returned them.
        context: Lambda's.

    Returns:
        The jobs, with the training's `stopping_condition`; `reserved`, whether the run continues; and
        `refusal`, the reason and the cure if it does not.
    """
    run_id, jobs = event["run_id"], event["jobs"]
    minutes = float(event["estimate"]["training_minutes"])
    try:
        jobs = run_costs.reserve_run(jobs, tune=bool(event["tune"]), estimated_minutes=minutes)
    except SpendingRefused as refusal:
        log.info("Refused", extra={"run_id": run_id, "code": refusal.code})
        words = f"The run ended before its training, and nothing was spent on a GPU. {refusal} {refusal.cure}"
        return {**jobs, "reserved": False, "refusal": words}
    run_records.enter(
        run_id, "Reserve", "The most that the run can cost is reserved within the month's limit."
    )
    log.info("Reserved", extra={"run_id": run_id})
    return {**jobs, "reserved": True, "refusal": ""}
