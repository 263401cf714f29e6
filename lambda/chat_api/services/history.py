"""What Step Functions and the training job's log tell of a run."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from botocore.exceptions import ClientError
from pydantic import BaseModel

from chat_api.services import links
from contracts import environment, s3_keys
from shared import clock
from shared.aws import clients

_METRIC = re.compile(r"metric (?P<name>train_loss|validation_loss)=(?P<value>[-+0-9.eE]+) step=(?P<step>\d+)")
_FIGURE = re.compile(r"metric (?P<name>tokens_per_second|cost_usd)=(?P<value>[-+0-9.eE]+) step=")
_PROGRESS = re.compile(
    r"progress step=(?P<step>\d+) of=(?P<of>\d+) seconds=(?P<seconds>[0-9.]+)"
    r"( left=(?P<seconds_left>[0-9.]+))?"
)
_TRAINING_LOG = "/aws/sagemaker/TrainingJobs"


class State(BaseModel):
    """One state of the state machine in one run; a state that loops counts from first to last."""

    name: str
    status: Literal["running", "succeeded", "failed"]
    started_at: clock.Utc
    seconds: float


class Metric(BaseModel):
    """The losses at one training step."""

    step: int
    train_loss: float | None = None
    validation_loss: float | None = None


class Progress(BaseModel):
    """How far the training is."""

    step: int
    of: int
    seconds: float
    seconds_left: float | None = None
    """By its pace so far, and no more than it may take."""
    tokens_per_second: float | None = None
    cost_usd: float | None = None
    """So far, at the instance's price on demand."""


def states(execution_arn: str) -> list[State]:
    """Read which states a run has been in, in order; empty where Step Functions has forgotten the run."""
    client = clients.stepfunctions()
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, includeExecutionData=False
    )
    walk = _Walk()
    try:
        for page in pages:
            for event in page["events"]:
                walk.event(event)
    except client.exceptions.ExecutionDoesNotExist:
        return []
    return walk.states()


class _Walk:
    """Follows the events of one execution; a run is in one state at a time."""

    def __init__(self) -> None:
        self._started: dict[str, datetime] = {}
        self._entered: dict[str, datetime] = {}
        self._spent: dict[str, float] = {}
        self._ended: set[str] = set()
        self._failed: set[str] = set()
        self._now: str | None = None
        self._over: datetime | None = None

    def event(self, event: Any) -> None:
        kind, at = event["type"], event["timestamp"]
        if kind.endswith("StateEntered"):
            self._now = event["stateEnteredEventDetails"]["name"]
            self._started.setdefault(self._now, at)
            self._entered[self._now] = at
            self._ended.discard(self._now)
        elif kind.endswith("StateExited"):
            self._leave(event["stateExitedEventDetails"]["name"], at)
        elif kind.startswith("Execution") and kind != "ExecutionStarted":
            self._over = at
            if kind != "ExecutionSucceeded" and self._now is not None and self._now not in self._ended:
                self._failed.add(self._now)
        elif self._now is not None and kind.endswith(("Failed", "TimedOut", "Aborted")):
            self._failed.add(self._now)
        elif self._now is not None and kind.endswith("Succeeded"):
            # A retry that went well.
            self._failed.discard(self._now)

    def _leave(self, name: str, at: datetime) -> None:
        """Add up the visits: a state of a loop has been left between them."""
        self._spent[name] = self._spent.get(name, 0.0) + (at - self._entered[name]).total_seconds()
        self._ended.add(name)

    def states(self) -> list[State]:
        return [self._state(name, started) for name, started in self._started.items()]

    def _state(self, name: str, started: datetime) -> State:
        ended = name in self._ended
        status: Literal["running", "succeeded", "failed"] = "succeeded" if ended or self._over else "running"
        if name in self._failed:
            status = "failed"
        seconds = self._spent.get(name, 0.0)
        if not ended:
            seconds += ((self._over or clock.now()) - self._entered[name]).total_seconds()
        return State(name=name, status=status, started_at=clock.text(started), seconds=round(seconds, 2))


def training_log(job_name: str) -> tuple[list[Metric], Progress | None]:
    """Read the losses and the progress that a training job has logged; empty before it has."""
    client = clients.logs()
    metrics: dict[int, Metric] = {}
    progress: Progress | None = None
    figures: dict[str, float] = {}
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=_TRAINING_LOG, logStreamNamePrefix=f"{job_name}/", filterPattern='"step="'
    )
    try:
        for page in pages:
            for event in page["events"]:
                # MiniStack does not narrow by the prefix.
                if not event.get("logStreamName", "").startswith(f"{job_name}/"):
                    continue
                line = event.get("message", "")
                if found := _METRIC.search(line):
                    step = int(found["step"])
                    setattr(metrics.setdefault(step, Metric(step=step)), found["name"], float(found["value"]))
                elif found := _FIGURE.search(line):
                    figures[found["name"]] = float(found["value"])
                elif found := _PROGRESS.search(line):
                    progress = Progress.model_validate(found.groupdict())
    except client.exceptions.ResourceNotFoundException:
        return [], None
    return [metrics[step] for step in sorted(metrics)], progress and progress.model_copy(update=figures)


def last_validation_loss(metrics: Sequence[Metric]) -> float | None:
    """Give the loss on the validation stories as it was measured last; None before it has been."""
    measured = (metric.validation_loss for metric in reversed(metrics))
    return next((loss for loss in measured if loss is not None), None)


def report_link(run_id: str) -> str:
    """Return a link to a run's data report as a page, which needs no sign-in while it lasts."""
    return links.fetch_link(s3_keys.report_page(run_id), "text/html")


def evaluation_link(run_id: str) -> str | None:
    """Return such a link to a run's evaluation; None where there is no page of it."""
    bucket, key = environment.common().artifacts_bucket, s3_keys.evaluation_page(run_id)
    # Runs of before there was such a page have the figures only.
    found = clients.s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    return links.fetch_link(key, "text/html") if found["KeyCount"] else None


def report(run_id: str) -> dict[str, Any] | None:
    """Read a run's data report; None before there is one."""
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
