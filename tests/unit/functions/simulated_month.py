"""A month of SageMaker in memory: the endpoint of `simulated_endpoint`, every kind of job, and one bill."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from tests.unit.functions.simulated_endpoint import CAPACITY, SimulatedEndpoint, _error

USD_PER_HOUR = {"ml.g6.xlarge": 1.13, "ml.g5.xlarge": 1.41, "ml.g6e.xlarge": 2.61}
JobKind = Literal["Training", "Processing", "Transform", "HyperParameterTuning"]
Ending = Literal["Completed", "Failed", "Stopped"]


@dataclass
class Job:
    """One job: when it began, when it ends by itself, and for how much of that it is billed."""

    kind: JobKind
    name: str
    instance: str
    count: int
    made_at: datetime
    longest: timedelta
    takes: timedelta
    ending: Ending = "Completed"
    reason: str | None = None
    billed_share: float = 1.0
    """Of a training on spot: SageMaker bills less than it took."""
    search: str | None = None
    stopped_at: datetime | None = None

    @property
    def ends_at(self) -> datetime:
        """When it ends, or has ended."""
        ends_at = self.made_at + min(self.takes, self.longest)
        return ends_at if self.stopped_at is None else min(ends_at, self.stopped_at)

    def usd(self, now: datetime) -> float:
        """Say what it is billed until now."""
        seconds = (min(now, self.ends_at) - self.made_at).total_seconds() * self.billed_share
        return self.count * max(0.0, seconds) * USD_PER_HOUR[self.instance] / 3600


@dataclass
class SimulatedMonth(SimulatedEndpoint):
    """One account's SageMaker."""

    jobs: dict[str, Job] = field(default_factory=dict)

    def create_job(self, job: Job) -> None:
        """Make a job as SageMaker would: no name twice."""
        assert job.name not in self.jobs, f"{job.name} was made before"
        self.jobs[job.name] = job

    def bill_usd(self) -> float:
        """Say what everything has cost."""
        endpoint = self.billed_by_type(datetime.min.replace(tzinfo=self.time.now.tzinfo))
        jobs = sum(job.usd(self.time.now) for job in self.jobs.values() if job.kind != "HyperParameterTuning")
        return jobs + sum(USD_PER_HOUR[name] * seconds / 3600 for name, seconds in endpoint.items())

    def is_over(self, name: str) -> bool:
        return self.jobs[name].ends_at <= self.time.now

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        job = self._job(TrainingJobName)
        machines = {"InstanceType": job.instance, "InstanceCount": job.count}
        seconds = (job.ends_at - job.made_at).total_seconds() * job.billed_share
        limit = {"MaxRuntimeInSeconds": int(job.longest.total_seconds())}
        ended = {"BillableTimeInSeconds": seconds} if self.is_over(job.name) else {}
        return {**self._told(job), **ended, "ResourceConfig": machines, "StoppingCondition": limit}

    def describe_processing_job(self, *, ProcessingJobName: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        job = self._job(ProcessingJobName)
        machines = {"ClusterConfig": {"InstanceType": job.instance, "InstanceCount": job.count}}
        return {**self._told(job), "ProcessingResources": machines}

    def describe_transform_job(self, *, TransformJobName: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        job = self._job(TransformJobName)
        machines = {"InstanceType": job.instance, "InstanceCount": job.count}
        return {**self._told(job), "TransformResources": machines}

    def stop_transform_job(self, *, TransformJobName: str) -> None:  # noqa: N803 - boto3's
        self.jobs[TransformJobName].stopped_at = self.time.now
        self.jobs[TransformJobName].ending = "Stopped"

    # boto3 names its arguments so
    def describe_hyper_parameter_tuning_job(self, *, HyperParameterTuningJobName: str) -> dict[str, Any]:  # noqa: N803
        job = self._job(HyperParameterTuningJobName)
        machines = {"InstanceType": job.instance, "InstanceCount": 1}
        limits = {"MaxNumberOfTrainingJobs": 2}
        return {
            **self._told(job),
            "TrainingJobDefinition": {"ResourceConfig": machines},
            "HyperParameterTuningJobConfig": {"ResourceLimits": limits},
        }

    def get_paginator(self, operation: str) -> Any:
        return _Pages(self, operation)

    def _job(self, name: str) -> Job:
        if name not in self.jobs:
            raise _error("ValidationException", "Requested resource not found.", "Describe")
        return self.jobs[name]

    def _told(self, job: Job) -> dict[str, Any]:
        over = self.is_over(job.name)
        told: dict[str, Any] = {
            f"{job.kind}JobName": job.name,
            f"{job.kind}JobStatus": job.ending if over else "InProgress",
            f"{'' if job.kind == 'HyperParameterTuning' else job.kind}StartTime": job.made_at,
            "CreationTime": job.made_at,
        }
        if over:
            told |= {f"{job.kind}EndTime": job.ends_at, "FailureReason": job.reason}
        return told


@dataclass
class _Pages:
    machine: SimulatedMonth
    operation: str

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        if self.operation == "list_training_jobs_for_hyper_parameter_tuning_job":
            of = asked["HyperParameterTuningJobName"]
            trials = [{"TrainingJobName": job.name} for job in self.machine.jobs.values() if job.search == of]
            return [{"TrainingJobSummaries": trials}]
        kind = {"list_training_jobs": "Training", "list_processing_jobs": "Processing"}.get(
            self.operation, "Transform"
        )
        listed = [
            {f"{kind}JobName": job.name, "CreationTime": job.made_at}
            for job in self.machine.jobs.values()
            if job.kind == kind and asked["NameContains"] in job.name
            if asked.get("StatusEquals") != "InProgress" or not self.machine.is_over(job.name)
        ]
        return [{f"{kind}JobSummaries": listed}]


def no_capacity() -> dict[str, Any]:
    """A job that AWS had no machine for: it ends at once, and costs nothing."""
    return {"takes": timedelta(0), "ending": "Failed", "reason": CAPACITY}
