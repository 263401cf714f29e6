"""What jobs of all kinds share: their thread, their container, and the reasons of their failures."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.errors import in_use, invalid
from local.aws.sagemaker.instance_holds import InstanceHold
from local.aws.sagemaker.job_process import Container, Ended
from local.aws.sagemaker.record_store import STORE, Record, public_members
from local.aws.sagemaker.roles import RoleClients
from local.aws.sagemaker.telemetry import MetricDefinition, Telemetry
from local.aws.sagemaker.transfer import remove_folder
from local.aws.services.eventbridge import put_event
from local.aws.services.iam import assume_role

REASON_CHARACTERS = 1024
"""FailureReason is at most this long."""
CPU_STANDS_IN = "LOCAL_AWS_CPU_STANDS_IN"
"""Variable of every job's container: a job that needs a GPU may run on processors instead."""

logger = logging.getLogger("local_aws.sagemaker")


class JobFailed(Exception):  # noqa: N818 (an outcome, in SageMaker's words)
    """The job ends as Failed; the text is its FailureReason."""


class JobStopped(Exception):  # noqa: N818
    """The job ends as Stopped."""


@dataclass(frozen=True)
class Kind:
    """The names that differ between the kinds of jobs."""

    name: str
    status: str
    log_group: str
    detail_type: str
    stream: str = "{job}/algo-1-{time}"
    """Name of a job's log stream; the time is in seconds."""


TRAINING = Kind(
    "training-job",
    "TrainingJobStatus",
    "/aws/sagemaker/TrainingJobs",
    "SageMaker Training Job State Change",
)
PROCESSING = Kind(
    "processing-job",
    "ProcessingJobStatus",
    "/aws/sagemaker/ProcessingJobs",
    "SageMaker Processing Job State Change",
)
TRANSFORM = Kind(
    "transform-job",
    "TransformJobStatus",
    "/aws/sagemaker/TransformJobs",
    "SageMaker Transform Job State Change",
    "{job}/i-{time}/data-log",
)
_ARNS = ("TrainingJobArn", "ProcessingJobArn", "TransformJobArn")


@dataclass
class Job:
    """One job at work. `work` does all of it and raises JobFailed or JobStopped for a bad end."""

    kind: Kind
    name: str
    root: Path
    role_arn: str
    definitions: list[MetricDefinition]
    dimensions: dict[str, str]
    hold: InstanceHold
    clients: RoleClients = field(init=False)
    telemetry: Telemetry = field(init=False)
    container: Container | None = None
    _stop_reason: str = ""
    _interrupt_at: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        self.clients = RoleClients(assume_role(self.role_arn, "SageMaker"))
        self.telemetry = Telemetry(
            self.clients,
            self.kind.log_group,
            self.kind.stream.format(job=self.name, time=int(time.time())),
            self.definitions,
            self.kind.log_group,
            self.dimensions,
        )

    def start(self, work: Callable[["Job"], None]) -> None:
        """Begin `work` in the background."""
        threading.Thread(target=self._run, args=(work,), name=f"job-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """Answer StopTrainingJob, StopProcessingJob or StopTransformJob: stop the container."""
        self._stop_reason = "Stopped"
        if self.container:
            self.container.stop("Stopped")

    def interrupt_at(self, line_start: str, reason: str) -> None:
        """Stop the next container, for `reason`, once its log has a line that begins with `line_start`."""
        self._interrupt_at = (line_start, reason)

    def check_stop(self) -> None:
        """Raise JobStopped if the job was stopped since its last step."""
        if self._stop_reason:
            raise JobStopped(self._stop_reason)

    def update(self, **changes: Any) -> None:
        """Change the job's description, and put an event on EventBridge if the status changed."""
        STORE.update(self.kind.name, self.name, **changes)
        if self.kind.status in changes or "SecondaryStatus" in changes:
            self.publish_state()

    def publish_state(self) -> None:
        """Put the job's State Change event on EventBridge."""
        record = STORE.get(self.kind.name, self.name)
        if record is None:
            return
        arn = next(str(record[key]) for key in _ARNS if key in record)
        put_event("aws.sagemaker", self.kind.detail_type, event_detail(record), [arn])

    def run_container(
        self,
        command: list[str],
        environment: dict[str, str],
        seconds: int | None,
        tick: Callable[[], None],
        *,
        receives_sigterm: bool = True,
    ) -> Ended:
        """Run the job's own code. Raises JobFailed if it cannot be started."""
        self.container = Container(self.root, command, environment, self._line, receives_sigterm)
        self.check_stop()
        try:
            return self.container.run(seconds, tick)
        except OSError as error:
            raise JobFailed(
                f"AlgorithmError: cannot run {command[0]}: {error.strerror}, exit code: 127"
            ) from error

    def _line(self, text: str) -> None:
        self.telemetry.line(text)
        if self._interrupt_at and self.container and text.startswith(self._interrupt_at[0]):
            self.container.stop(self._interrupt_at[1])
            self._interrupt_at = None

    def _run(self, work: Callable[["Job"], None]) -> None:
        self.telemetry.start()
        try:
            work(self)
        except JobStopped as stopped:
            self._end("Stopped", SecondaryStatus=str(stopped))
        except JobFailed as failed:
            self._end("Failed", FailureReason=shorten_reason(str(failed)))
        except Exception as error:  # else the API would show a job in progress for ever
            logger.exception("Job %s", self.name)
            self._end("Failed", FailureReason=shorten_reason(f"InternalServerError: {error}"))
        finally:
            remove_folder(self.root)

    def _end(self, status: str, **changes: Any) -> None:
        if reason := changes.get("FailureReason"):
            self.telemetry.line(reason)
        self.finish(status, **changes)

    def finish(self, status: str, **changes: Any) -> None:
        """Make the job's last change, when its log and metrics are complete and its instances are free."""
        self.telemetry.close()
        self.hold.release()
        self.update(**{self.kind.status: status, "_finished": True, **changes})


def require_in_progress(kind: str, status: str) -> None:
    """Refuse to stop a job that is not in progress; `kind` is SageMaker's word, such as "training job"."""
    if status != "InProgress":
        raise invalid(f"The request was rejected because the {kind} is in status {status}.")


def delete_ended(kind: str, name: str, status: str) -> Record:
    """Delete a job's entry in SageMaker's list, which is allowed once the job has ended."""
    if status in ("InProgress", "Stopping"):
        raise in_use(f"The job {name} cannot be deleted: its status is {status}.")
    STORE.remove(kind, name)
    return {}


def shorten_reason(reason: str) -> str:
    """Shorten a reason to the length that SageMaker allows; the end of an error is its best part."""
    if len(reason) <= REASON_CHARACTERS:
        return reason
    head = reason.partition(":")[0][:40]
    return f"{head}: … {reason[-(REASON_CHARACTERS - len(head) - 4) :]}"


def data_error(what: str, error: Exception) -> JobFailed:
    """Return the failure of a job that S3 refused: SageMaker calls it the client's error."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        return JobFailed(f"ClientError: {what} failed: {details.get('Code')}: {details.get('Message')}")
    return JobFailed(f"ClientError: {what} failed: {error}")


DATA_ERRORS = (ClientError, BotoCoreError, ValueError, OSError)


def write_json(path: Path, content: object) -> None:
    """Write one of the files of ``/opt/ml/input/config``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def resource_config(instance_type: str) -> dict[str, Any]:
    """Return ``resourceconfig.json`` of a training job: one host, in the one group of its cluster."""
    group = {
        "instance_group_name": "homogeneousCluster",
        "instance_type": instance_type,
        "hosts": ["algo-1"],
    }
    return {
        "current_host": "algo-1",
        "current_instance_type": instance_type,
        "current_group_name": group["instance_group_name"],
        "hosts": ["algo-1"],
        "instance_groups": [group],
        "network_interface_name": "lo",
    }


def event_detail(record: Record) -> dict[str, Any]:
    """Return a record as EventBridge shows it: times in milliseconds."""
    return {
        key: int(value * 1000) if key.endswith("Time") and isinstance(value, float) else value
        for key, value in public_members(record).items()
    }


def job_environment(clients: RoleClients, isolated: bool) -> dict[str, str]:
    """Return the variables of a container; under network isolation it has no credentials.

    This machine's processors stand in for an instance with a GPU, and a variable tells the job so.
    """
    region = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, CPU_STANDS_IN: "1"}
    if isolated:
        return region
    return {**region, **clients.credentials.environment(), **connection()}


def connection() -> dict[str, str]:
    """Return the variables with which a program finds this MiniStack."""
    names = ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    return {name: os.environ[name] for name in names} | {"AWS_ACCOUNT_ID": ACCOUNT}
