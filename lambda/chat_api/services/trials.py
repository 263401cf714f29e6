"""The search of a run with `tune` on: its trials, as SageMaker's tuning job tells of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from botocore.exceptions import ClientError
from pydantic import BaseModel

from chat_api.services import history
from contracts import environment, s3_keys
from shared import clock
from shared.aws import clients
from shared.items import Run

STATE = "Tune"
"""Of the state machine, in which a search goes on."""

TrialStatus = Literal["running", "succeeded", "stopped", "failed"]
_STATUS: dict[str, TrialStatus] = {"Completed": "succeeded", "Stopped": "stopped", "Failed": "failed"}


class Trial(BaseModel):
    """One training of a search."""

    status: TrialStatus
    """A trial that falls behind is stopped early."""
    best: bool
    """Whether no trial that has succeeded has a lower loss."""
    lora_rank: int
    learning_rate: float
    epochs: int
    """At most: a training ends when its validation loss no longer falls."""
    seconds: float
    """That it has trained."""
    validation_loss: float | None = None
    """The last one; null before it is measured."""
    progress: history.Progress | None = None
    """Of a trial that goes on."""


class Search(BaseModel):
    """The trials that have begun, in their order."""

    of: int
    """How many trials there may be."""
    trials: list[Trial]
    cost_usd: float | None
    """Of all of them so far, at the instance's price on demand; null where it is not known."""


def of_run(run: Run) -> Search | None:
    """Read how far a run's search is; None if SageMaker has none by its name."""
    client = clients.sagemaker()
    name = run.tuning_job or s3_keys.tuning_job(environment.common().name, run.run_id)
    try:
        told = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFound":
            return None
        raise
    pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending"
    )
    best = told.get("BestTrainingJob", {}).get("TrainingJobName")
    trials = [_trial(trial, best) for page in pages for trial in page["TrainingJobSummaries"]]
    limits = told["HyperParameterTuningJobConfig"]["ResourceLimits"]
    return Search(
        of=limits.get("MaxNumberOfTrainingJobs", len(trials)),
        trials=trials,
        cost_usd=_cost(told["TrainingJobDefinition"], trials),
    )


def _cost(definition: Any, trials: Sequence[Trial]) -> float | None:
    """Of what the trials have used; the pipeline hands the price to every training."""
    price = float(definition["StaticHyperParameters"].get("usd_per_hour", 0))
    instances = definition["ResourceConfig"]["InstanceCount"]
    hours = sum(trial.seconds for trial in trials) / 3600
    return round(hours * price * instances, 4) if price else None


def _trial(told: Any, best: str | None) -> Trial:
    name, chosen = told["TrainingJobName"], told["TunedHyperParameters"]
    status = _STATUS.get(told["TrainingJobStatus"], "running")
    loss = told.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
    progress = None
    if status == "running":
        # SageMaker says the loss of a trial when it has ended; its log says it at once.
        metrics, progress = history.training_log(name)
        loss = history.last_validation_loss(metrics)
    return Trial(
        status=status,
        best=name == best,
        lora_rank=int(chosen["lora_rank"]),
        learning_rate=float(chosen["learning_rate"]),
        epochs=int(float(chosen["epochs"])),
        seconds=_seconds(told.get("TrainingStartTime"), told.get("TrainingEndTime")),
        validation_loss=loss,
        progress=progress,
    )


def _seconds(started: datetime | None, ended: datetime | None) -> float:
    """From start to end, or until now; 0 before the machine is there."""
    if started is None:
        return 0.0
    return round(max(0.0, ((ended or clock.now()) - started).total_seconds()), 1)
