"""The names and tags of the app's AWS resources, above all of those that are created at run time.

Called with `*`, a method gives the pattern of its names for IAM: `training_job("*")` is `storyloom-train-*`.
Several apps may share an account and a region, and one's name may begin with another's: the prefix
`storyloom` and SageMaker's NameContains also find resources of `storyloom-two`. So the methods `is_*` compare
whole names.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

TAG = "storyloom:app"
REGION_TAG = "storyloom:region"
"""On IAM roles, which belong to no region, and which CloudFormation does not tag with their stack."""

VARIANT = "main"
"""Name of the endpoint's one production variant; its metrics carry it."""
UPLOADS_SCHEDULE, DEPLOY_SCHEDULE = "quiet", "deploy"
"""Schedules that start a run: after the last upload, and for a version that waits for the run before it."""

TRAINING_LOG = "/aws/sagemaker/TrainingJobs"
PROCESSING_LOG = "/aws/sagemaker/ProcessingJobs"
TRANSFORM_LOG = "/aws/sagemaker/TransformJobs"
ENDPOINT_LOGS = "/aws/sagemaker/Endpoints"
"""Log groups of SageMaker's jobs, which all jobs of an account share, and the parent of those of endpoints.

They are also the namespaces of the metrics of the instances.
"""
JOB_LOGS = (TRAINING_LOG, PROCESSING_LOG, TRANSFORM_LOG)
STATE_MACHINE_LOGS = "/aws/vendedlogs/states"
"""Step Functions needs this prefix of a log group: without it the log's resource policy grows too long."""

RUN_ID = r"\d{8}-\d{6}-[0-9a-f]{4}"
"""Regular expression of the ids of runs and batches."""
_DIGEST = "[0-9a-f]{8}"
ENDPOINT_CONFIG = re.compile(
    rf"(?P<app>.+)-(?P<version>v\d+)-(?P<family>[a-z0-9]+)-(?P<size>[a-z0-9]+)-{_DIGEST}"
)
"""Names of endpoint configurations, and of the models that they host."""
BATCH_MODEL = re.compile(rf"(?P<app>.+)-batch-(?P<version>v\d+)-{_DIGEST}")
"""Names of the models of transform jobs."""

_LONGEST_TUNING_PREFIX = 9
"""Characters of the app's name in a tuning job's name: SageMaker allows 32 in all."""


@dataclass(frozen=True)
class AppNames:
    """The names of one app's resources."""

    name: str
    """The app's own name, which the endpoint and the model package group also have."""

    # What CloudFormation makes

    @property
    def title(self) -> str:
        """The beginning of the stacks' names: the app's name with its first letter upper-cased."""
        return self.name[0].upper() + self.name[1:]

    @property
    def storage_stack(self) -> str:
        """The Storage stack, which a deletion keeps."""
        return f"{self.title}-Storage"

    @property
    def pipeline_stack(self) -> str:
        """The Pipeline stack."""
        return f"{self.title}-Pipeline"

    @property
    def chat_stack(self) -> str:
        """The Chat stack."""
        return f"{self.title}-Chat"

    @property
    def operations_stack(self) -> str:
        """The Operations stack."""
        return f"{self.title}-Operations"

    @property
    def stacks(self) -> tuple[str, ...]:
        """The stacks that a deletion deletes, in that order."""
        return (self.operations_stack, self.chat_stack, self.pipeline_stack)

    @property
    def all_stacks(self) -> tuple[str, ...]:
        """All stacks, in the order in which they are deployed."""
        return (self.storage_stack, *reversed(self.stacks))

    def belongs_to_stacks(self, physical_name: str) -> bool:
        """Return whether CloudFormation gave this name to a resource of one of the stacks."""
        lowered = physical_name.lower()
        stacks = [stack.lower() for stack in self.all_stacks]
        return any(lowered == stack or lowered.startswith(f"{stack}-") for stack in stacks)

    @property
    def page_buckets(self) -> str:
        """The pattern of the name that CloudFormation gives to the page's bucket."""
        return f"{self.chat_stack.lower()}-page*"

    def page(self, region: str) -> str:
        """Name the page's CloudFront policies and functions, which belong to no region."""
        return f"{self.name}-page-{region}"

    @property
    def page_url_parameter(self) -> str:
        """The Systems Manager parameter with the page's address.

        The Chat stack, which makes the page, is deployed after the Pipeline stack, whose messages name it. So
        the address is read when a message is sent. It exists only together with the schedule that
        deletes an unused endpoint, so functions create none without it (`lambda/shared/aws/chat_stack.py`).
        """
        return f"/{self.name}/page-url"

    @property
    def rollback_alarms(self) -> tuple[str, str]:
        """The alarms that roll a deployment back: for errors, and for latency."""
        return f"{self.name}-endpoint-errors", f"{self.name}-endpoint-latency"

    # Hosting

    @property
    def endpoint_log(self) -> str:
        """The log group of the endpoint."""
        return f"{ENDPOINT_LOGS}/{self.name}"

    def endpoint_config(self, version: str, instance: str, digest: str) -> str:
        """Name an endpoint configuration and its model, for instance `storyloom-v3-g6-xlarge-0f3c2a1b`."""
        return f"{self.name}-{version}-{instance.removeprefix('ml.').replace('.', '-')}-{digest}"

    @property
    def endpoint_configs(self) -> str:
        """The pattern of the endpoint configurations and their models."""
        return f"{self.name}-v*"

    def is_endpoint_config(self, name: str) -> bool:
        """Return whether this app gives this name to an endpoint configuration, and to the model it hosts."""
        named = ENDPOINT_CONFIG.fullmatch(name)
        return named is not None and named["app"] == self.name

    # Jobs

    def training_job(self, run_id: str, attempt: int = 1) -> str:
        """Name an attempt at the training job of a run: SageMaker accepts no name twice."""
        return f"{self.name}-train-{run_id}{_attempt_suffix(attempt)}"

    def evaluation_job(self, run_id: str, attempt: int = 1) -> str:
        """Name an attempt at the evaluation job of a run."""
        return f"{self.name}-evaluate-{run_id}{_attempt_suffix(attempt)}"

    def tuning_job(self, run_id: str, attempt: int = 1) -> str:
        """Name an attempt at the tuning job of a run; a long name is cut, so two apps may share it."""
        cut = self.name[:_LONGEST_TUNING_PREFIX].rstrip("-")
        return f"{cut}-{run_id}{_attempt_suffix(attempt)}"

    def transform_job(self, batch_id: str) -> str:
        """Name the transform job of a batch."""
        return f"{self.name}-batch-{batch_id}"

    def batch_model(self, version: str, digest: str) -> str:
        """Name the model of the transform jobs of a version."""
        return f"{self.transform_job(version)}-{digest}"

    @property
    def batch_models(self) -> str:
        """The pattern of the models of transform jobs."""
        return self.transform_job("v*")

    def is_batch_model(self, name: str) -> bool:
        """Return whether this app gives this name to the model of a transform job."""
        named = BATCH_MODEL.fullmatch(name)
        return named is not None and named["app"] == self.name


def is_job(name: str, prefixes: Iterable[str]) -> bool:
    """Return whether a name is one of the prefixes, the id of a run or batch, and perhaps a suffix.

    Attempts and trials have a suffix, which begins with a hyphen.
    """
    prefix = "|".join(re.escape(prefix) for prefix in prefixes)
    return re.fullmatch(rf"({prefix}){RUN_ID}(-.*)?", name) is not None


def _attempt_suffix(attempt: int) -> str:
    return f"-{attempt}" if attempt > 1 else ""
