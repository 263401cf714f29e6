"""SageMaker's control plane: authorization of each operation, and the function that answers it.

The same `perform_operation` serves HTTP requests, the state machine's tasks and CloudFormation, so every
caller meets the same validation and the same IAM checks.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.aws.errors import AwsError, invalid
from local.aws.sagemaker import (
    endpoints,
    model_resources,
    processing_jobs,
    registry,
    training_jobs,
    transform_jobs,
    tuning_jobs,
)
from local.aws.sagemaker.condition_keys import condition_keys
from local.aws.sagemaker.lists import answer_list
from local.aws.sagemaker.record_store import STORE, Record, name_of, sagemaker_arn
from local.aws.sagemaker.roles import PRINCIPAL
from local.aws.service_handlers import Response
from local.aws.service_models import operation, validate
from local.aws.services.iam import Denied, authorize_request

Authorize = Callable[[str, str, dict[str, Any]], None]
"""(action, resource ARN, condition keys); raises `Denied`."""


@dataclass(frozen=True)
class Operation:
    """How one operation is answered, and on which resources its action is authorized."""

    answer: Callable[[Record], Record]
    resources: Callable[[Record], list[str]]


def _on(kind: str, member: str) -> Callable[[Record], list[str]]:
    return lambda request: [sagemaker_arn(kind, name_of(request[member]))]


def _on_package(member: str) -> Callable[[Record], list[str]]:
    return lambda request: [
        sagemaker_arn(
            "model-package", str(request[member]).partition(":model-package/")[2] or request[member]
        )
    ]


def _on_endpoint(request: Record) -> list[str]:
    """Return the resources of CreateEndpoint and UpdateEndpoint: the configuration counts too."""
    return [
        sagemaker_arn("endpoint", request["EndpointName"]),
        sagemaker_arn("endpoint-config", request["EndpointConfigName"]),
    ]


def _anywhere(request: Record) -> list[str]:
    return ["*"]


def _add_tags(request: Record) -> Record:
    STORE.tag(request["ResourceArn"], request["Tags"])
    return {"Tags": STORE.tags(request["ResourceArn"])}


def _delete_tags(request: Record) -> Record:
    STORE.untag(request["ResourceArn"], request["TagKeys"])
    return {}


def _tagged(request: Record) -> list[str]:
    return [request["ResourceArn"]]


_JOB, _PROCESSING = "TrainingJobName", "ProcessingJobName"
_TUNING, _TRANSFORM = "HyperParameterTuningJobName", "TransformJobName"
_GROUP, _CONFIG = "ModelPackageGroupName", "EndpointConfigName"

OPERATIONS: dict[str, Operation] = {
    "CreateTrainingJob": Operation(training_jobs.create_training_job, _on("training-job", _JOB)),
    "DescribeTrainingJob": Operation(training_jobs.describe_training_job, _on("training-job", _JOB)),
    "StopTrainingJob": Operation(training_jobs.stop_training_job, _on("training-job", _JOB)),
    "ListTrainingJobs": Operation(
        answer_list("training-job", _JOB, training_jobs.summarize_training_job), _anywhere
    ),
    "DeleteTrainingJob": Operation(training_jobs.delete_training_job, _on("training-job", _JOB)),
    "CreateHyperParameterTuningJob": Operation(tuning_jobs.create_tuning_job, _on(tuning_jobs.KIND, _TUNING)),
    "DescribeHyperParameterTuningJob": Operation(
        tuning_jobs.describe_tuning_job, _on(tuning_jobs.KIND, _TUNING)
    ),
    "StopHyperParameterTuningJob": Operation(tuning_jobs.stop_tuning_job, _on(tuning_jobs.KIND, _TUNING)),
    "ListHyperParameterTuningJobs": Operation(
        answer_list(tuning_jobs.KIND, _TUNING, tuning_jobs.summarize_tuning_job), _anywhere
    ),
    "ListTrainingJobsForHyperParameterTuningJob": Operation(
        tuning_jobs.list_trials, _on(tuning_jobs.KIND, _TUNING)
    ),
    "DeleteHyperParameterTuningJob": Operation(tuning_jobs.delete_tuning_job, _on(tuning_jobs.KIND, _TUNING)),
    "CreateProcessingJob": Operation(
        processing_jobs.create_processing_job, _on("processing-job", _PROCESSING)
    ),
    "DescribeProcessingJob": Operation(
        processing_jobs.describe_processing_job, _on("processing-job", _PROCESSING)
    ),
    "StopProcessingJob": Operation(processing_jobs.stop_processing_job, _on("processing-job", _PROCESSING)),
    "ListProcessingJobs": Operation(
        answer_list("processing-job", _PROCESSING, processing_jobs.summarize_processing_job), _anywhere
    ),
    "DeleteProcessingJob": Operation(
        processing_jobs.delete_processing_job, _on("processing-job", _PROCESSING)
    ),
    "CreateTransformJob": Operation(transform_jobs.create_transform_job, _on("transform-job", _TRANSFORM)),
    "DescribeTransformJob": Operation(
        transform_jobs.describe_transform_job, _on("transform-job", _TRANSFORM)
    ),
    "StopTransformJob": Operation(transform_jobs.stop_transform_job, _on("transform-job", _TRANSFORM)),
    "ListTransformJobs": Operation(
        answer_list("transform-job", _TRANSFORM, transform_jobs.summarize_transform_job), _anywhere
    ),
    "CreateModel": Operation(model_resources.create_model, _on("model", "ModelName")),
    "DescribeModel": Operation(model_resources.describe_model, _on("model", "ModelName")),
    "DeleteModel": Operation(model_resources.delete_model, _on("model", "ModelName")),
    "ListModels": Operation(answer_list("model", "ModelName", model_resources.summarize_model), _anywhere),
    "CreateEndpointConfig": Operation(
        model_resources.create_endpoint_config, _on("endpoint-config", _CONFIG)
    ),
    "DescribeEndpointConfig": Operation(
        model_resources.describe_endpoint_config, _on("endpoint-config", _CONFIG)
    ),
    "DeleteEndpointConfig": Operation(
        model_resources.delete_endpoint_config, _on("endpoint-config", _CONFIG)
    ),
    "ListEndpointConfigs": Operation(
        answer_list("endpoint-config", _CONFIG, model_resources.summarize_endpoint_config), _anywhere
    ),
    "CreateEndpoint": Operation(endpoints.create_endpoint, _on_endpoint),
    "UpdateEndpoint": Operation(endpoints.update_endpoint, _on_endpoint),
    "UpdateEndpointWeightsAndCapacities": Operation(
        endpoints.update_endpoint_capacities, _on("endpoint", "EndpointName")
    ),
    "DescribeEndpoint": Operation(endpoints.describe_endpoint, _on("endpoint", "EndpointName")),
    "DeleteEndpoint": Operation(endpoints.delete_endpoint, _on("endpoint", "EndpointName")),
    "ListEndpoints": Operation(
        answer_list("endpoint", "EndpointName", endpoints.summarize_endpoint), _anywhere
    ),
    "CreateModelPackageGroup": Operation(registry.create_package_group, _on("model-package-group", _GROUP)),
    "DescribeModelPackageGroup": Operation(
        registry.describe_package_group, _on("model-package-group", _GROUP)
    ),
    "DeleteModelPackageGroup": Operation(registry.delete_package_group, _on("model-package-group", _GROUP)),
    "ListModelPackageGroups": Operation(
        answer_list("model-package-group", _GROUP, registry.summarize_package_group), _anywhere
    ),
    "CreateModelPackage": Operation(
        registry.create_package,
        lambda request: [sagemaker_arn("model-package", registry.next_package_name(request))],
    ),
    "DescribeModelPackage": Operation(registry.describe_package, _on_package("ModelPackageName")),
    "UpdateModelPackage": Operation(registry.update_package, _on_package("ModelPackageArn")),
    "DeleteModelPackage": Operation(registry.delete_package, _on_package("ModelPackageName")),
    "ListModelPackages": Operation(
        answer_list(
            "model-package", "ModelPackageArn", registry.summarize_package, registry.matches_package_filters
        ),
        _anywhere,
    ),
    "AddTags": Operation(_add_tags, _tagged),
    "ListTags": Operation(lambda request: {"Tags": STORE.tags(request["ResourceArn"])}, _tagged),
    "DeleteTags": Operation(_delete_tags, _tagged),
}


def perform_operation(name: str, request: Record, authorize: Authorize) -> Record:
    """Validate, authorize and answer one operation. Raises `AwsError` or `Denied`."""
    operation(name)
    if name not in OPERATIONS:
        raise AwsError("UnknownOperationException", f"The local SageMaker does not have {name} yet.")
    validate(name, request)
    found = OPERATIONS[name]
    resources = found.resources(request)
    keys = condition_keys(name, request)
    for resource in resources:
        authorize(f"sagemaker:{name}", resource, keys)
    if request.get("Tags") and name.startswith("Create"):
        authorize("sagemaker:AddTags", resources[0], {})
    for holder in (request, request.get("TrainingJobDefinition") or {}):
        for role in filter(None, (holder.get("RoleArn"), holder.get("ExecutionRoleArn"))):
            authorize("iam:PassRole", role, {"iam:PassedToService": PRINCIPAL})
    rollback = (request.get("DeploymentConfig") or {}).get("AutoRollbackConfiguration") or {}
    if rollback.get("Alarms"):
        authorize("cloudwatch:DescribeAlarms", endpoints.ANY_ALARM, {})
    return found.answer(request)


async def handle_control_plane(headers: dict[str, str], query: dict[str, list[str]], body: bytes) -> Response:
    """Answer an HTTP request (JSON 1.1, ``X-Amz-Target: SageMaker.<Operation>``)."""
    name = headers.get("x-amz-target", "").partition(".")[2]

    def authorize(action: str, resource: str, context: dict[str, Any]) -> None:
        authorize_request(headers, query, action, resource, context)

    try:
        return _json(200, perform_operation(name, _parse(body), authorize))
    except AwsError as error:
        return _json(error.status, {"__type": error.code, "message": error.message}, error.code)
    except Denied as denied:
        return _json(
            400, {"__type": "AccessDeniedException", "Message": denied.message}, "AccessDeniedException"
        )


def _parse(body: bytes) -> Record:
    try:
        request = json.loads(body or b"{}")
    except json.JSONDecodeError as error:
        raise AwsError("SerializationException", f"The body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise invalid("The body must be a JSON object.")
    return request


def _json(status: int, content: dict[str, Any], error: str = "") -> Response:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    if error:
        headers["x-amzn-errortype"] = error
    return status, headers, json.dumps(content).encode()
