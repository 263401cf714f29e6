"""Decide from the evaluation whether the new model is deployed.

It is deployed only if it is better than the base model, and not certainly worse than the live one.
"""

import math
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import ValidationError

from contracts import environment, s3_keys
from gate.rules import decide
from shared.aws import clients
from shared.runs import run_records
from shared.runs.evaluation import EvaluationResult

log = Logger(service="gate")


class UnreadableEvaluationError(Exception):
    """evaluation.json lacks what the gate needs; the message says what to do."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Decide from the evaluation whether the candidate is deployed.

    Args:
        event: `{"run_id", "jobs"}`, the jobs as `Assemble` made them.
        context: Lambda's.

    Returns:
        `{"deploy", "decision", "base_perplexity", "tuned_perplexity", "live_perplexity", "adapter_uri",
        "adapter_sha256"}`

    Raises:
        UnreadableEvaluationError: evaluation.json is of another version of the app.
    """
    run_id = event["run_id"]
    jobs = event["jobs"]
    run_records.enter(run_id, "Gate", "Comparing the new model with the one it would replace.")
    bucket, _ = s3_keys.split(jobs["evaluation_output_uri"])
    body = clients.s3().get_object(Bucket=bucket, Key=s3_keys.evaluation_json(run_id))["Body"].read()
    evaluation = _read(body)
    decision = decide(evaluation, environment.read(environment.GateRules))
    figures = {
        "base_perplexity": evaluation.base.perplexity,
        "tuned_perplexity": _finite(evaluation.candidate.perplexity),
        "live_perplexity": evaluation.live.perplexity if evaluation.live else None,
        "adapter_sha256": evaluation.adapter_sha256,
    }
    run_records.enter(run_id, "Gate", decision.words, processing_job=jobs["processing_job_name"], **figures)
    log.info("Decided", extra={"run_id": run_id, "deploy": decision.deploy, **figures})
    return {
        "deploy": decision.deploy,
        "decision": decision.words,
        **figures,
        "adapter_uri": s3_keys.uri(bucket, s3_keys.adapter(run_id)),
    }


def _read(body: bytes) -> EvaluationResult:
    try:
        return EvaluationResult.model_validate_json(body)
    except ValidationError as error:
        faults = ", ".join(".".join(map(str, fault["loc"])) or fault["msg"] for fault in error.errors()[:5])
        raise UnreadableEvaluationError(
            f"The evaluation job's evaluation.json has another form than the gate expects ({faults}). "
            "The app was probably updated during the run: start the run again."
        ) from error


def _finite(perplexity: float) -> float | None:
    return perplexity if math.isfinite(perplexity) else None
