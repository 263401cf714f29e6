"""Further attempts at a job that AWS could not run, under a new name and perhaps on another instance type."""

import json
from typing import Any, Literal

from contracts import environment, s3_keys
from shared.hosting import instances

Obstacle = Literal["quota", "capacity", "internal"]
"""Why AWS did not run a job: the quota is used up, no instance is free, or SageMaker had an error."""
MOST_ATTEMPTS = 6
_SECONDS_BEFORE: dict[Obstacle, int] = {"quota": 1, "capacity": 120, "internal": 30}

Jobs = dict[str, Any]


def classify_obstacle(error: str, cause: str) -> Obstacle | None:
    """Return what kept a job from running; None if the job itself failed.

    Args:
        error: name of the error that the state machine caught.
        cause: its cause: the job's description, or a message.
    """
    short = instances.shortage(f"{error} {_reason(cause)}")
    if short is not None:
        return short
    return "internal" if "internalservererror" in _reason(cause).lower() else None


def next_evaluation(run_id: str, jobs: Jobs, why: Obstacle) -> Jobs | None:
    """Plan the next attempt at the evaluation, on the next instance type; None if none is left."""
    refused, *others = jobs["processing_instances"]
    instances = others if why == "quota" else [*others, refused]
    if not instances or jobs["evaluation_attempt"] >= MOST_ATTEMPTS:
        return None
    return evaluation_attempt(run_id, jobs, jobs["evaluation_attempt"] + 1, instances)


def evaluation_attempt(run_id: str, jobs: Jobs, number: int, instances: list[str]) -> Jobs:
    """Plan one attempt at the evaluation."""
    return {
        **jobs,
        "evaluation_attempt": number,
        "processing_job_name": environment.common().names.evaluation_job(run_id, number),
        "processing_instance": instances[0],
        "processing_instances": instances,
    }


def next_training(run_id: str, jobs: Jobs, why: Obstacle) -> Jobs | None:
    """Plan the next attempt at the training, from its checkpoints; None if waiting does not help."""
    if why == "quota" or jobs["training_attempt"] >= MOST_ATTEMPTS:
        return None
    return training_attempt(run_id, jobs, jobs["training_attempt"] + 1)


def training_attempt(run_id: str, jobs: Jobs, number: int) -> Jobs:
    """Plan one attempt at the training, whose model the evaluation reads."""
    common = environment.common()
    name = common.names.training_job(run_id, number)
    archive = s3_keys.uri(common.artifacts_bucket, s3_keys.model_archive(run_id, name))
    return {
        **jobs,
        "training_attempt": number,
        "training_job_name": name,
        "processing_inputs": candidate_inputs(jobs, archive),
    }


def search_attempt(run_id: str, jobs: Jobs, number: int) -> Jobs:
    """Plan one attempt at the search."""
    name = environment.common().names.tuning_job(run_id, number)
    return {**jobs, "tuning": {**jobs["tuning"], "job_name": name, "attempt": number}}


def candidate_inputs(jobs: Jobs, archive_uri: str) -> list[dict[str, Any]]:
    """Return the evaluation's inputs, with this model archive as the candidate."""
    return [
        {**one, "S3Input": {**one["S3Input"], "S3Uri": archive_uri}}
        if one["InputName"] == "candidate"
        else one
        for one in jobs["processing_inputs"]
    ]


def seconds_before(why: Obstacle) -> int:
    """Return how long to wait before the next attempt."""
    return _SECONDS_BEFORE[why]


def _reason(cause: str) -> str:
    """Return the FailureReason of a job's description, or the cause itself if it is none."""
    try:
        parsed = json.loads(cause)
    except ValueError:
        return cause
    if not isinstance(parsed, dict):
        return cause
    return str(parsed.get("FailureReason") or parsed.get("ExitMessage") or parsed.get("errorMessage") or "")
