"""Choose the best trial of a search as the run's training job."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import s3_keys
from shared.recovery import attempts
from shared.runs import run_records

log = Logger(service="choose_best")


class NoTrialSucceeded(Exception):  # noqa: N818 - the name is what a person reads in the console
    """A search ended without a model."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Return the jobs with the best trial in the place of the training job.

    Args:
        event: `{"run_id", "jobs", "tuned"}`: the jobs as `Assemble` made them, and SageMaker's description of
            the tuning job.
        context: Lambda's.

    Returns:
        The jobs, with the best trial as their training job and its model as the candidate.

    Raises:
        NoTrialSucceeded: no trial made a model.
    """
    run_id, jobs = event["run_id"], event["jobs"]
    best = event["tuned"].get("BestTrainingJob")
    if best is None:
        raise NoTrialSucceeded(
            "No trial of the search made a model. Raise tuning_budget_usd, or turn tune off, and run again."
        )
    name = str(best["TrainingJobName"])
    run_records.enter(run_id, "ChooseBest", _words(event["tuned"], best), training_job=name)
    log.info("Chose", extra={"run_id": run_id, "training_job": name})
    bucket, _ = s3_keys.split(jobs["training_output_uri"])
    archive = s3_keys.uri(bucket, s3_keys.model_archive(run_id, name))
    return {**jobs, "training_job_name": name, "processing_inputs": attempts.candidate_inputs(jobs, archive)}


def _words(tuned: dict[str, Any], best: dict[str, Any]) -> str:
    trials = sum(tuned.get("TrainingJobStatusCounters", {}).values())
    chosen = best["TunedHyperParameters"]
    rate = float(chosen["learning_rate"])
    return (
        f"The best of {trials} trials trained with rank {chosen['lora_rank']}, learning rate {rate:.2g} and "
        f"{chosen['epochs']} epochs at most."
    )
