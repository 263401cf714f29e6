"""Decide whether a failed job is tried again: only if AWS could not run it and the limit allows it."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared.recovery import attempts
from shared.recovery.attempts import Obstacle
from shared.runs import run_records
from shared.spending import job_costs, ledger, run_costs
from shared.spending.job_costs import Billed
from shared.spending.ledger import Kind
from shared.spending.spending_refused import SpendingRefused

log = Logger(service="next_attempt")

_WORDS: dict[Obstacle, str] = {
    "quota": "the account's quota does not allow {instance} for it",
    "capacity": "AWS has no instance free for it now",
    "internal": "SageMaker had an internal error",
}


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Plan the next attempt at a job, under a new name.

    Args:
        event: `{"run_id", "step": "Train" or "Evaluate", "jobs", "failure": {"Error", "Cause"}}`.
        context: Lambda's.

    Returns:
        The jobs, with `again`, the step to try again or an empty text, and `wait_seconds`.
    """
    run_id, step, jobs = event["run_id"], event["step"], event["jobs"]
    why = attempts.classify_obstacle(event["failure"].get("Error", ""), event["failure"].get("Cause", ""))
    plan = attempts.next_evaluation if step == "Evaluate" else attempts.next_training
    planned = plan(run_id, jobs, why) if why is not None else None
    if planned is not None and not _is_paid(step, jobs, planned):
        planned = None
    log.info("Decided", extra={"run_id": run_id, "step": step, "why": why, "again": planned is not None})
    if why is None or planned is None:
        return {**jobs, "again": "", "wait_seconds": 1}
    _record(run_id, step, jobs, planned, why)
    return {**planned, "again": step, "wait_seconds": attempts.seconds_before(why)}


def _is_paid(step: str, jobs: dict[str, Any], planned: dict[str, Any]) -> bool:
    """Settle the failed attempt and reserve the next one; returns False if the limit does not allow it."""
    kind: Kind = "evaluation" if step == "Evaluate" else "training"
    name = jobs["processing_job_name" if step == "Evaluate" else "training_job_name"]
    cost = job_costs.cost_of_job(kind, name)
    if isinstance(cost, Billed):
        ledger.settle(kind, name, cost.usd, started_at=cost.started_at, ended_at=cost.ended_at)
    elif cost == "missing":
        ledger.release_reservation(kind, name)
    try:
        (run_costs.reserve_evaluation if step == "Evaluate" else run_costs.reserve_training)(planned)
    except SpendingRefused as refusal:
        log.info("The limit allows no further attempt", extra={"step": step, "code": refusal.code})
        return False
    return True


def _record(run_id: str, step: str, jobs: dict[str, Any], planned: dict[str, Any], why: Obstacle) -> None:
    words = _WORDS[why].format(instance=jobs["processing_instance"])
    if step == "Evaluate":
        name = planned["processing_job_name"]
        message = f"The evaluation is tried again on {planned['processing_instance']}: {words}."
        run_records.enter(run_id, step, message, processing_job=name)
    else:
        name = planned["training_job_name"]
        run_records.enter(run_id, step, f"The training is tried again: {words}.", training_job=name)
