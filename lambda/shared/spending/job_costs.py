"""Read what a SageMaker job has cost, from the billable time that SageMaker reports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from botocore.exceptions import ClientError

from contracts import environment
from shared.aws import clients
from shared.spending import prices
from shared.spending.ledger import Kind

_MISSING = ("could not find", "could not be found", "not found", "does not exist")


@dataclass(frozen=True)
class Billed:
    """A job that has ended."""

    usd: float
    """0 if the instance's price is not known."""
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Underway:
    """A job that has not ended."""

    instance: str
    most_usd: float | None
    """The most that it may cost; None without a time limit or a price."""


JobCost = Billed | Underway | Literal["missing"]


def cost_of_job(kind: Kind, id_: str) -> JobCost:
    """Return what a job has cost, or the most that it may cost if it has not ended.

    Args:
        kind: the kind of job; the endpoint is not a job, and `shared.spending.meter` counts it.
        id_: the job's name, or the batch's id.
    """
    describe = _DESCRIBE.get(kind)
    if describe is None:
        return "missing"
    try:
        return describe(id_)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"].lower()
        if code in {"ResourceNotFound", "ResourceNotFoundException"} or any(
            sign in message for sign in _MISSING
        ):
            return "missing"
        raise


def usd(kind: prices.Kind, instance: str, seconds: float, instances: int = 1) -> float | None:
    """Return what instances cost for a number of seconds; None if the price is not known."""
    price = prices.usd_per_hour(kind, instance)
    return None if price is None else instances * seconds * price.usd_per_hour / 3600


def _training(name: str) -> JobCost:
    job: Mapping[str, Any] = clients.sagemaker().describe_training_job(TrainingJobName=name)
    resources = job["ResourceConfig"]
    instance, count = str(resources["InstanceType"]), int(resources["InstanceCount"])
    if job["TrainingJobStatus"] not in {"Completed", "Failed", "Stopped"}:
        return _underway("training", job, instance, count)
    # On spot, BillableTimeInSeconds is shorter than the training time. A job that never got an instance has
    # neither figure.
    seconds = float(job.get("BillableTimeInSeconds", job.get("TrainingTimeInSeconds", 0)))
    cost = usd("training", instance, seconds, count) or 0.0
    return Billed(cost, job.get("TrainingStartTime"), job.get("TrainingEndTime"))


def _search(name: str) -> JobCost:
    client = clients.sagemaker()
    search: Mapping[str, Any] = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    trials = _trials(name)
    definition = search["TrainingJobDefinition"]
    limits = search["HyperParameterTuningJobConfig"]["ResourceLimits"]
    underway = _underway(
        "training",
        definition,
        str(definition["ResourceConfig"]["InstanceType"]),
        int(definition["ResourceConfig"]["InstanceCount"]) * int(limits["MaxNumberOfTrainingJobs"]),
    )
    if search["HyperParameterTuningJobStatus"] not in {"Completed", "Failed", "Stopped"}:
        return underway
    costs = [_training(trial) for trial in trials]
    billed = [cost for cost in costs if isinstance(cost, Billed)]
    if len(billed) < len(costs):
        return underway
    ended_at = search.get("HyperParameterTuningEndTime")
    return Billed(sum(cost.usd for cost in billed), search.get("CreationTime"), ended_at)


def _trials(name: str) -> list[str]:
    pages = (
        clients.sagemaker()
        .get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        .paginate(HyperParameterTuningJobName=name, SortOrder="Ascending")
    )
    return [str(trial["TrainingJobName"]) for page in pages for trial in page["TrainingJobSummaries"]]


def _evaluation(name: str) -> JobCost:
    job: Mapping[str, Any] = clients.sagemaker().describe_processing_job(ProcessingJobName=name)
    resources = job["ProcessingResources"]["ClusterConfig"]
    instance, count = str(resources["InstanceType"]), int(resources["InstanceCount"])
    if job["ProcessingJobStatus"] not in {"Completed", "Failed", "Stopped"}:
        return _underway("processing", job, instance, count)
    return _between(
        "processing", instance, count, job.get("ProcessingStartTime"), job.get("ProcessingEndTime")
    )


def _batch(batch_id: str) -> JobCost:
    name = environment.common().names.transform_job(batch_id)
    job: Mapping[str, Any] = clients.sagemaker().describe_transform_job(TransformJobName=name)
    resources = job["TransformResources"]
    instance, count = str(resources["InstanceType"]), int(resources.get("InstanceCount", 1))
    if job["TransformJobStatus"] not in {"Completed", "Failed", "Stopped"}:
        return Underway(instance, None)
    return _between("transform", instance, count, job.get("TransformStartTime"), job.get("TransformEndTime"))


def _between(
    kind: prices.Kind, instance: str, count: int, start: datetime | None, stop: datetime | None
) -> Billed:
    seconds = (stop - start).total_seconds() if start and stop else 0.0
    return Billed(usd(kind, instance, seconds, count) or 0.0, start, stop)


def _underway(kind: prices.Kind, job: Mapping[str, Any], instance: str, count: int) -> Underway:
    limit = job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    return Underway(instance, None if limit is None else usd(kind, instance, float(limit), count))


_DESCRIBE: dict[Kind, Callable[[str], JobCost]] = {
    "training": _training,
    "search": _search,
    "evaluation": _evaluation,
    "batch": _batch,
}
