"""SageMaker's jobs as tasks of a state machine.

``arn:aws:states:::sagemaker:createTrainingJob[.sync]``, tuning and processing alike, run the
local SageMaker's jobs; a ``.sync`` task waits for the end, and stops the job when the execution is stopped.
When the task or the execution times out the job goes on: AWS documents a cancellation for aborts only.
"""

import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.errors import AwsError
from local.aws.sagemaker import control_plane
from local.aws.sagemaker.job import event_detail
from local.aws.sagemaker.record_store import sagemaker_arn
from local.aws.services.iam import Denied, authorize_role
from local.aws.step_functions.executions import (
    INTEGRATION_PREFIX,
    Execution,
    Json,
    TaskError,
    add_integration,
    add_sdk_service,
    before_saving_machines,
    current_execution,
)
from local.aws.step_functions.integration_fields import unsupported

POLL_SECONDS = 0.3
_STEP_FUNCTIONS_TAG = {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}


@dataclass(frozen=True)
class SyncIntegration:
    """The names that differ between the ``.sync`` integrations."""

    operation: str
    name_member: str
    status_member: str
    resource: str
    rule: str


JOBS = {
    "createTrainingJob": SyncIntegration(
        "TrainingJob",
        "TrainingJobName",
        "TrainingJobStatus",
        "training-job",
        "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    ),
    "createHyperParameterTuningJob": SyncIntegration(
        "HyperParameterTuningJob",
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobStatus",
        "hyper-parameter-tuning-job",
        "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    ),
    "createProcessingJob": SyncIntegration(
        "ProcessingJob",
        "ProcessingJobName",
        "ProcessingJobStatus",
        "processing-job",
        "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    ),
}


def add_integrations() -> None:
    """Let tasks run SageMaker's jobs, and refuse machines whose role may not manage their rules."""
    before_saving_machines(_check_managed_rules)
    add_sdk_service("sagemaker", "SageMaker")
    for action, kind in JOBS.items():
        add_integration(f"{INTEGRATION_PREFIX}sagemaker:{action}", _runner(action, kind))


def _runner(action: str, kind: SyncIntegration) -> Any:
    def run(resource: str, content: Json) -> Json:
        execution = current_execution()
        _refuse_unknown_fields(action, content)
        waits = resource.endswith(".sync")
        created = _call(execution, f"Create{kind.operation}", _with_tag(content, waits))
        if not waits:
            return created
        try:
            _authorize_rule(execution.role_arn, execution.name, kind)
            job = sagemaker_arn(kind.resource, content[kind.name_member])
            authorize_role(execution.role_arn, execution.name, "sagemaker:ListTags", job)
        except Denied as denied:
            _call(execution, f"Stop{kind.operation}", {kind.name_member: content[kind.name_member]})
            raise TaskError("SageMaker.AmazonSageMakerException", denied.message) from denied
        return _wait(execution, kind, content[kind.name_member])

    return run


def _check_managed_rules(definition: Json, role_arn: str) -> str | None:
    """Refuse a machine with a ``.sync`` task if its role may not create the managed rule, as AWS does."""
    for kind in _sync_kinds(definition):
        try:
            _authorize_rule(role_arn, "CreateStateMachine", kind)
        except Denied as denied:
            return f"'{role_arn}' is not authorized to create managed-rule. {denied.message}"
    return None


def _authorize_rule(role_arn: str, session: str, kind: SyncIntegration) -> None:
    for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
        authorize_role(role_arn, session, action, f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{kind.rule}")


def _sync_kinds(definition: Any) -> list[SyncIntegration]:
    text = json.dumps(definition)
    return [kind for action, kind in JOBS.items() if f"{INTEGRATION_PREFIX}sagemaker:{action}.sync" in text]


def _refuse_unknown_fields(action: str, content: Json) -> None:
    faults = [
        f'The field "{name}" is not supported by Step Functions' for name in unsupported(action, content)
    ]
    if faults:
        raise TaskError(
            "States.Runtime",
            f"The Parameters '{json.dumps(content)}' could not be used to start the Task: "
            f"[{', '.join(faults)}]",
        )


def _with_tag(content: Json, managed: bool) -> Json:
    return {**content, "Tags": [*content.get("Tags", []), _STEP_FUNCTIONS_TAG]} if managed else content


def _wait(execution: Execution, kind: SyncIntegration, name: str) -> Json:
    """Return the job's description once it has completed; raise `TaskError` if it ended in any other way."""
    while True:
        described = _call(execution, f"Describe{kind.operation}", {kind.name_member: name})
        status = described[kind.status_member]
        if status in ("Completed", "Failed", "Stopped"):
            break
        if execution.is_aborted and status == "InProgress":
            _call(execution, f"Stop{kind.operation}", {kind.name_member: name})
        time.sleep(POLL_SECONDS)
    shown = event_detail(described)
    if status != "Completed":
        raise TaskError("States.TaskFailed", json.dumps(shown))
    return shown


def _call(execution: Execution, operation: str, request: Json) -> Json:
    """Call SageMaker with the machine's role."""

    def authorize(action: str, resource: str, context: dict[str, Any]) -> None:
        authorize_role(execution.role_arn, execution.name, action, resource, context)

    try:
        return control_plane.perform_operation(operation, request, authorize)
    except Denied as denied:
        code, message = "AccessDeniedException", denied.message
    except AwsError as error:
        code, message = error.code, error.message
    name = (
        f"{code}Exception"
        if code in ("ResourceInUse", "ResourceLimitExceeded")
        else "AmazonSageMakerException"
    )
    raise TaskError(
        f"SageMaker.{name}",
        f"{message} (Service: AmazonSageMaker; Status Code: 400; Error Code: {code}; Request ID: {uuid4()})",
    )
