"""The gate: only a model that is better than what it replaces is deployed."""

import math
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

from shared import aws, environment, layout, runs

log = Logger(service="gate")


class Score(BaseModel):
    """One model's perplexity on the held-out stories."""

    perplexity: float


class Evaluation(BaseModel):
    """The part of `evaluation.json` that decides."""

    base: Score
    candidate: Score
    live: Score | None = None
    adapter_sha256: str


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Decide from the evaluation whether the candidate is deployed.

    Args:
        event: `{"run_id", "jobs"}`, the jobs as `Assemble` made them.
        context: Lambda's.

    Returns:
        `{"deploy", "decision", "base_perplexity", "tuned_perplexity", "live_perplexity", "adapter_uri",
        "adapter_sha256"}`
    """
    run_id = event["run_id"]
    jobs = event["jobs"]
    runs.enter(run_id, "Gate", "Comparing the new model with the one it would replace.")
    bucket, prefix = layout.split(jobs["evaluation_output_uri"])
    body = aws.s3().get_object(Bucket=bucket, Key=f"{prefix.rstrip('/')}/evaluation.json")["Body"].read()
    evaluation = Evaluation.model_validate_json(body)
    minimum = environment.read(environment.GateRule).minimum_improvement_percent
    deploy, decision = decide(evaluation, minimum)
    figures = {
        "base_perplexity": evaluation.base.perplexity,
        "tuned_perplexity": _finite(evaluation.candidate.perplexity),
        "live_perplexity": evaluation.live.perplexity if evaluation.live else None,
        "adapter_sha256": evaluation.adapter_sha256,
    }
    runs.enter(run_id, "Gate", decision, processing_job=jobs["processing_job_name"], **figures)
    log.info("Decided", extra={"run_id": run_id, "deploy": deploy, **figures})
    training_uri = jobs["training_output_uri"].rstrip("/")
    return {
        "deploy": deploy,
        "decision": decision,
        **figures,
        "adapter_uri": f"{training_uri}/{jobs['training_job_name']}/output/model/",
    }


def decide(evaluation: Evaluation, minimum_improvement_percent: float) -> tuple[bool, str]:
    """Compare the candidate with the base model and with the live one.

    Returns:
        Whether to deploy, and the reason in words. A lower perplexity is better.
    """
    base, tuned = evaluation.base.perplexity, evaluation.candidate.perplexity
    if not math.isfinite(tuned):
        return False, "The training diverged: the new model's perplexity is not a number. It is not deployed."
    better = 100 * (base - tuned) / base
    figures = f"perplexity {tuned:.1f} on stories it has not seen, the base model {base:.1f}"
    if better < minimum_improvement_percent:
        return False, (
            f"The new model is not better enough than the base model ({figures}: {better:.1f}% lower, "
            f"{minimum_improvement_percent:g}% is asked for). It is kept but not deployed."
        )
    if evaluation.live is not None and tuned >= evaluation.live.perplexity:
        return False, (
            f"The new model is not better than the one that is live ({figures}, the live one "
            f"{evaluation.live.perplexity:.1f}). It is kept but not deployed."
        )
    return True, f"The new model is better: {figures}, {better:.1f}% lower."


def _finite(perplexity: float) -> float | None:
    return perplexity if math.isfinite(perplexity) else None
