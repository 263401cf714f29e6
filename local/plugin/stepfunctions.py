"""Step Functions as on AWS: tasks need the permissions of the state machine's role, and run SageMaker jobs.

``arn:aws:states:::sagemaker:createTrainingJob[.sync]``, tuning and processing alike, run the
local SageMaker's jobs; a ``.sync`` task waits for the end, and stops the job when the execution is stopped.
When the task or the execution times out the job goes on: AWS documents a cancellation for aborts only.
"""

import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from local.environment import ACCOUNT, REGION
from local.plugin import ministack_states as states
from local.plugin.integration_fields import unsupported
from local.plugin.ministack_adapter import Denied, assume_role, authorize_role, authorize_role_somewhere
from local.plugin.ministack_limits import check_payload, enforce_limits
from local.plugin.ministack_states import Execution, Json, TaskError, current_execution
from local.plugin.sagemaker import api
from local.plugin.sagemaker.aws import RoleClients
from local.plugin.sagemaker.errors import ApiError
from local.plugin.sagemaker.job import event_detail
from local.plugin.sagemaker.store import arn

PREFIX = "arn:aws:states:::"
POLL_SECONDS = 0.3
BATCH_ITEMS = 100
"""How many items a batch has by default."""

UNCAUGHT = frozenset({"States.Runtime", "States.DataLimitExceeded"})
"""Errors that end the execution in spite of its Retry and Catch, `States.ALL` included."""

_STEP_FUNCTIONS_TAG = {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}


@dataclass(frozen=True)
class JobKind:
    """The names that differ between the ``.sync`` integrations."""

    operation: str
    name_member: str
    status_member: str
    resource: str
    rule: str


JOBS = {
    "createTrainingJob": JobKind(
        "TrainingJob",
        "TrainingJobName",
        "TrainingJobStatus",
        "training-job",
        "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    ),
    "createHyperParameterTuningJob": JobKind(
        "HyperParameterTuningJob",
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobStatus",
        "hyper-parameter-tuning-job",
        "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    ),
    "createProcessingJob": JobKind(
        "ProcessingJob",
        "ProcessingJobName",
        "ProcessingJobStatus",
        "processing-job",
        "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    ),
}

_PLAIN_INTEGRATIONS = {
    "sns:publish": ("sns:Publish", "TopicArn"),
    "sqs:sendMessage": ("sqs:SendMessage", ""),
    "events:putEvents": ("events:PutEvents", ""),
    "ecs:runTask": ("ecs:RunTask", "TaskDefinition"),
    "states:startExecution": ("states:StartExecution", "StateMachineArn"),
}


def install() -> None:
    """Make MiniStack's state machines work under their roles, with SageMaker."""
    states.before_tasks(_authorize_task)
    states.before_reading_items(_authorize_reader)
    states.name_map_runs_and_tasks()
    states.end_callbacks()
    states.around_distributed_maps(_authorize_map, _batches, _map_result)
    enforce_limits()
    states.keep_first_outcome()
    states.time_out_machines()
    states.before_saving_machines(_check_managed_rules)
    states.add_sdk_service("sagemaker", "SageMaker")
    states.never_catch(UNCAUGHT)
    states.compare_timestamps_by_path()
    for action, kind in JOBS.items():
        states.add_integration(f"{PREFIX}sagemaker:{action}", _runner(action, kind))


# Permissions ------------------------------------------------------------------------------------


def _authorize_task(execution: Execution, resource: str, content: Json) -> None:
    """Raise `TaskError` unless the machine's role may do what the task does."""
    if ":activity:" in resource or resource.startswith(f"{PREFIX}sagemaker:"):
        return  # `sagemaker.api` authorizes jobs
    if ":function:" in resource or resource.startswith(f"{PREFIX}lambda:"):
        _authorize_lambda(execution, resource, content)
    elif resource.startswith(f"{PREFIX}aws-sdk:"):
        action, on = states.sdk_call(resource, content)
        _require(execution, action, on, f"{resource.split(':')[6].title()}.AccessDeniedException")
    elif resource.startswith(PREFIX):
        _authorize_integration(execution, resource.removeprefix(PREFIX).split(".")[0], content)


def _authorize_lambda(execution: Execution, resource: str, content: Json) -> None:
    function = str(content.get("FunctionName", "")) if resource.startswith(PREFIX) else resource
    function = function.removesuffix(":$LATEST")
    if not function.startswith("arn:"):
        function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"
    _require(execution, "lambda:InvokeFunction", function, "Lambda.AWSLambdaException")


def _authorize_integration(execution: Execution, name: str, content: Json) -> None:
    service, _, action = name.partition(":")
    error = f"{service.upper() if len(service) == 3 else service.title()}.AccessDeniedException"
    if service == "dynamodb":
        table = content.get("TableName", "")
        on = table if table.startswith("arn:") else f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"
        _require(execution, f"dynamodb:{action[:1].upper()}{action[1:]}", on, error)
    elif name in _PLAIN_INTEGRATIONS:
        permission, member = _PLAIN_INTEGRATIONS[name]
        _require(execution, permission, str(content.get(member, "*")), error)


def _require(execution: Execution, action: str, resource: str, error: str) -> None:
    if not execution.role_arn:
        return
    try:
        if resource == "*":
            authorize_role_somewhere(execution.role_arn, execution.name, action)
        else:
            authorize_role(execution.role_arn, execution.name, action, resource)
    except Denied as denied:
        service = action.partition(":")[0]
        raise TaskError(error, f"{denied.message} (Service: {service}; {_denied_details()})") from denied


def _denied_details() -> str:
    return f"Status Code: 403; Error Code: AccessDeniedException; Request ID: {uuid4()}"


def _authorize_reader(execution: Execution, resource: str, parameters: Json) -> None:
    bucket = f"arn:aws:s3:::{parameters.get('Bucket')}"
    if resource.endswith("listObjectsV2"):
        _require(execution, "s3:ListBucket", bucket, "States.ItemReaderFailed")
    else:
        _require(execution, "s3:GetObject", f"{bucket}/{parameters.get('Key')}", "States.ItemReaderFailed")


def _authorize_map(execution: Execution) -> None:
    _require(execution, "states:StartExecution", execution.state_machine_arn, "States.Permissions")


def _check_managed_rules(definition: Json, role_arn: str) -> str | None:
    """Refuse a machine with a ``.sync`` task if its role may not create the managed rule, as AWS does."""
    for kind in _sync_kinds(definition):
        try:
            _authorize_rule(role_arn, "CreateStateMachine", kind)
        except Denied as denied:
            return f"'{role_arn}' is not authorized to create managed-rule. {denied.message}"
    return None


def _authorize_rule(role_arn: str, session: str, kind: JobKind) -> None:
    for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
        authorize_role(role_arn, session, action, f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{kind.rule}")


def _sync_kinds(definition: Any) -> list[JobKind]:
    text = json.dumps(definition)
    return [kind for action, kind in JOBS.items() if f"{PREFIX}sagemaker:{action}.sync" in text]


# Batches ----------------------------------------------------------------------------------------


def _batches(items: list[Any], batcher: Json, shared: Json) -> list[Json]:
    """Return the inputs of a Distributed Map's children: ``{"BatchInput": …, "Items": […]}``."""
    size = int(batcher.get("MaxItemsPerBatch", BATCH_ITEMS))
    limit = int(batcher.get("MaxInputBytesPerBatch", 256 * 1024))
    groups: list[list[Any]] = []
    used = limit + 1
    for item in items:
        length = len(json.dumps(item).encode())
        if not groups or len(groups[-1]) >= size or used + length > limit:
            groups.append([])
            used = 0
        groups[-1].append(item)
        used += length
    return [{**({"BatchInput": shared} if shared else {}), "Items": group} for group in groups]


_RESULT_ACTIONS = (
    "s3:PutObject",
    "s3:GetObject",
    "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload",
)
"""Actions that a state machine's role needs on the prefix to which a ResultWriter writes."""


def _map_result(writer: Json, map_run: Json, results: list[Any]) -> Any:
    """Return the result of a Distributed Map: its children's, or the place of the ResultWriter's files."""
    if not writer:
        check_payload(results, "The state 'Map' returned a result")
        return results
    execution = current_execution()
    bucket = writer["Parameters"]["Bucket"]
    folder = f"{writer['Parameters'].get('Prefix', '').strip('/')}/{map_run['mapRunArn'].rpartition(':')[2]}"
    for action in _RESULT_ACTIONS:
        _require(
            execution, action, f"arn:aws:s3:::{bucket}/{folder}/manifest.json", "States.ResultWriterFailed"
        )
    s3 = RoleClients(assume_role(execution.role_arn, execution.name)).s3
    succeeded = json.dumps(results).encode()
    key = f"{folder}/SUCCEEDED_0.json"
    s3.put_object(Bucket=bucket, Key=key, Body=succeeded)
    files = {"FAILED": [], "PENDING": [], "SUCCEEDED": [{"Key": key, "Size": len(succeeded)}]}
    manifest = {"DestinationBucket": bucket, "MapRunArn": map_run["mapRunArn"], "ResultFiles": files}
    s3.put_object(Bucket=bucket, Key=f"{folder}/manifest.json", Body=json.dumps(manifest).encode())
    return {
        "MapRunArn": map_run["mapRunArn"],
        "ResultWriterDetails": {"Bucket": bucket, "Key": f"{folder}/manifest.json"},
    }


# SageMaker jobs ---------------------------------------------------------------------------------


def _runner(action: str, kind: JobKind) -> Any:
    def run(resource: str, content: Json) -> Json:
        execution = current_execution()
        _refuse_unknown_fields(action, content)
        waits = resource.endswith(".sync")
        created = _call(execution, f"Create{kind.operation}", _with_tag(content, waits))
        if not waits:
            return created
        try:
            _authorize_rule(execution.role_arn, execution.name, kind)
            job = arn(kind.resource, content[kind.name_member])
            authorize_role(execution.role_arn, execution.name, "sagemaker:ListTags", job)
        except Denied as denied:
            _call(execution, f"Stop{kind.operation}", {kind.name_member: content[kind.name_member]})
            raise TaskError("SageMaker.AmazonSageMakerException", denied.message) from denied
        return _wait(execution, kind, content[kind.name_member])

    return run


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


def _wait(execution: Execution, kind: JobKind, name: str) -> Json:
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
        return api.perform(operation, request, authorize)
    except Denied as denied:
        code, message = "AccessDeniedException", denied.message
    except ApiError as error:
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
