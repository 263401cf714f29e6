"""The history of a run: states from Step Functions, losses from its log, its search and its reports."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError
from pydantic import BaseModel

from chat_api.services import bucket_files
from contracts import environment, s3_keys, statuses
from contracts.resource_names import TRAINING_LOG
from contracts.statuses import StateStatus, TrialStatus
from shared import clock
from shared.aws import clients
from shared.items import Run

_METRIC = re.compile(r"metric (?P<name>train_loss|validation_loss)=(?P<value>[-+0-9.eE]+) step=(?P<step>\d+)")
_FIGURE = re.compile(r"metric (?P<name>tokens_per_second|cost_usd)=(?P<value>[-+0-9.eE]+) step=")
_PROGRESS = re.compile(
    r"progress step=(?P<step>\d+) of=(?P<of>\d+) seconds=(?P<seconds>[0-9.]+)"
    r"( left=(?P<seconds_left>[0-9.]+))?"
)
SEARCH_STATE = "Tune"
"""The state in which a run with `tune` on searches."""
_TRIAL_STATUS: dict[str, TrialStatus] = {
    "Completed": statuses.SUCCEEDED,
    "Stopped": statuses.STOPPED,
    "Failed": statuses.FAILED,
}


class RunState(BaseModel):
    """One state of the state machine in one run; the visits of a state in a loop are one state."""

    name: str
    status: StateStatus
    started_at: clock.Utc
    seconds: float


class LossMetric(BaseModel):
    """The losses at one training step."""

    step: int
    train_loss: float | None = None
    validation_loss: float | None = None


class StepProgress(BaseModel):
    """The progress of a training."""

    step: int
    of: int
    seconds: float
    seconds_left: float | None = None
    """Estimated from its pace so far, and at most its time limit."""
    tokens_per_second: float | None = None
    cost_usd: float | None = None
    """So far, at the instance's on-demand price."""


class Trial(BaseModel):
    """One training of a search."""

    status: TrialStatus
    """A trial with a worse loss than others is stopped early."""
    best: bool
    """Whether it has the lowest loss of all trials that have succeeded."""
    lora_rank: int
    learning_rate: float
    epochs: int
    """The most epochs; a training ends earlier if its validation loss no longer falls."""
    seconds: float
    """The time of its training so far."""
    validation_loss: float | None = None
    """The last measurement; null before the first."""
    progress: StepProgress | None = None
    """The progress of a trial that is running."""


class Search(BaseModel):
    """The trials of a search that have begun, in their order."""

    of: int
    """The most trials of this search."""
    trials: list[Trial]
    cost_usd: float | None
    """The cost of all trials so far, at the instance's on-demand price; null if it is not known."""


def read_states(execution_arn: str) -> list[RunState]:
    """Read the states of a run, in order; empty if Step Functions no longer has the execution."""
    client = clients.stepfunctions()
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, includeExecutionData=False
    )
    collector = _StateCollector()
    try:
        for page in pages:
            for event in page["events"]:
                collector.add_event(event)
    except client.exceptions.ExecutionDoesNotExist:
        return []
    return collector.states()


class _StateCollector:
    """Collects the states from the events of one execution; a run is in one state at a time."""

    def __init__(self) -> None:
        self._started: dict[str, datetime] = {}
        self._entered: dict[str, datetime] = {}
        self._spent: dict[str, float] = {}
        self._ended: set[str] = set()
        self._failed: set[str] = set()
        self._current: str | None = None
        self._ended_at: datetime | None = None

    def add_event(self, event: Any) -> None:
        kind, at = event["type"], event["timestamp"]
        if kind.endswith("StateEntered"):
            self._current = event["stateEnteredEventDetails"]["name"]
            self._started.setdefault(self._current, at)
            self._entered[self._current] = at
            self._ended.discard(self._current)
        elif kind.endswith("StateExited"):
            self._leave(event["stateExitedEventDetails"]["name"], at)
        elif kind.startswith("Execution") and kind != "ExecutionStarted":
            self._ended_at = at
            if (
                kind != "ExecutionSucceeded"
                and self._current is not None
                and self._current not in self._ended
            ):
                self._failed.add(self._current)
        elif self._current is not None and kind.endswith(("Failed", "TimedOut", "Aborted")):
            self._failed.add(self._current)
        elif self._current is not None and kind.endswith("Succeeded"):
            # A retry succeeded.
            self._failed.discard(self._current)

    def _leave(self, name: str, at: datetime) -> None:
        """Add this visit's time; a state in a loop is visited several times."""
        self._spent[name] = self._spent.get(name, 0.0) + (at - self._entered[name]).total_seconds()
        self._ended.add(name)

    def states(self) -> list[RunState]:
        return [self._state(name, started) for name, started in self._started.items()]

    def _state(self, name: str, started: datetime) -> RunState:
        ended = name in self._ended
        status: StateStatus = statuses.SUCCEEDED if ended or self._ended_at else statuses.RUNNING
        if name in self._failed:
            status = statuses.FAILED
        seconds = self._spent.get(name, 0.0)
        if not ended:
            seconds += ((self._ended_at or clock.now()) - self._entered[name]).total_seconds()
        return RunState(name=name, status=status, started_at=clock.text(started), seconds=round(seconds, 2))


def read_training_log(job_name: str) -> tuple[list[LossMetric], StepProgress | None]:
    """Read the losses and the progress from a training job's log; empty before it has logged any."""
    client = clients.logs()
    metrics: dict[int, LossMetric] = {}
    progress: StepProgress | None = None
    figures: dict[str, float] = {}
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=TRAINING_LOG, logStreamNamePrefix=f"{job_name}/", filterPattern='"step="'
    )
    try:
        for page in pages:
            for event in page["events"]:
                # MiniStack does not filter by the prefix.
                if not event.get("logStreamName", "").startswith(f"{job_name}/"):
                    continue
                line = event.get("message", "")
                if found := _METRIC.search(line):
                    step = int(found["step"])
                    setattr(
                        metrics.setdefault(step, LossMetric(step=step)), found["name"], float(found["value"])
                    )
                elif found := _FIGURE.search(line):
                    figures[found["name"]] = float(found["value"])
                elif found := _PROGRESS.search(line):
                    progress = StepProgress.model_validate(found.groupdict())
    except client.exceptions.ResourceNotFoundException:
        return [], None
    return [metrics[step] for step in sorted(metrics)], progress and progress.model_copy(update=figures)


def _last_validation_loss(metrics: Sequence[LossMetric]) -> float | None:
    """Return the last measured loss on the validation stories; None before the first."""
    measured = (metric.validation_loss for metric in reversed(metrics))
    return next((loss for loss in measured if loss is not None), None)


def read_search(run: Run) -> Search | None:
    """Read a run's search; None if SageMaker has no tuning job of its name."""
    client = clients.sagemaker()
    name = run.tuning_job or environment.common().names.tuning_job(run.run_id)
    try:
        job = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFound":
            return None
        raise
    pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending"
    )
    best = job.get("BestTrainingJob", {}).get("TrainingJobName")
    trials = [_trial(trial, best) for page in pages for trial in page["TrainingJobSummaries"]]
    limits = job["HyperParameterTuningJobConfig"]["ResourceLimits"]
    return Search(
        of=limits.get("MaxNumberOfTrainingJobs", len(trials)),
        trials=trials,
        cost_usd=_search_cost(job["TrainingJobDefinition"], trials),
    )


def _search_cost(definition: Any, trials: Sequence[Trial]) -> float | None:
    """Compute the cost of the trials; the pipeline passes the price to every training."""
    price = float(definition["StaticHyperParameters"].get("usd_per_hour", 0))
    instances = definition["ResourceConfig"]["InstanceCount"]
    hours = sum(trial.seconds for trial in trials) / 3600
    return round(hours * price * instances, 4) if price else None


def _trial(summary: Any, best: str | None) -> Trial:
    name, chosen = summary["TrainingJobName"], summary["TunedHyperParameters"]
    status = _TRIAL_STATUS.get(summary["TrainingJobStatus"], statuses.RUNNING)
    loss = summary.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
    progress = None
    if status == statuses.RUNNING:
        # SageMaker reports the loss of a trial only when it has ended; its log has it at once.
        metrics, progress = read_training_log(name)
        loss = _last_validation_loss(metrics)
    return Trial(
        status=status,
        best=name == best,
        lora_rank=int(chosen["lora_rank"]),
        learning_rate=float(chosen["learning_rate"]),
        epochs=int(float(chosen["epochs"])),
        seconds=_seconds(summary.get("TrainingStartTime"), summary.get("TrainingEndTime")),
        validation_loss=loss,
        progress=progress,
    )


def _seconds(started: datetime | None, ended: datetime | None) -> float:
    """Return the time from start to end, or until now; 0 before the instance is ready."""
    if started is None:
        return 0.0
    return round(max(0.0, ((ended or clock.now()) - started).total_seconds()), 1)


def report_link(run_id: str) -> str:
    """Return a link to the page of a run's data report, which needs no sign-in while it is valid."""
    return bucket_files.download_link(s3_keys.report_page(run_id), "text/html")


def evaluation_link(run_id: str) -> str | None:
    """Return a link to the page of a run's evaluation; None if it has no page."""
    bucket, key = environment.common().artifacts_bucket, s3_keys.evaluation_page(run_id)
    # Runs of older versions have only the figures.
    found = clients.s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    return bucket_files.download_link(key, "text/html") if found["KeyCount"] else None


def read_report(run_id: str) -> dict[str, Any] | None:
    """Read a run's data report; None before it has one."""
    try:
        answer = clients.s3().get_object(
            Bucket=environment.common().artifacts_bucket, Key=s3_keys.report(run_id)
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None
        raise
    content: dict[str, Any] = json.loads(answer["Body"].read())
    return content


def with_current_step(run: Run) -> Run:
    """Return the run with its current state, which only Step Functions knows while a job trains."""
    if not run.is_active or not run.execution_arn:
        return run
    states = read_states(run.execution_arn)
    return run.model_copy(update={"step": states[-1].name}) if states else run
