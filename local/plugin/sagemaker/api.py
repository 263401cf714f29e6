"""SageMaker's control plane: authorization of each operation, and the function that answers it.

The same `perform` serves HTTP requests, the state machine's tasks and CloudFormation, so every
caller meets the same validation and the same IAM checks.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.plugin.ministack_adapter import Denied, Response, authorize_request
from local.plugin.sagemaker import endpoints, models, processing, registry, training, transform, tuning
from local.plugin.sagemaker.checks import PRINCIPAL
from local.plugin.sagemaker.condition_keys import condition_keys
from local.plugin.sagemaker.errors import ApiError, invalid
from local.plugin.sagemaker.lists import answer_list
from local.plugin.sagemaker.store import STORE, Record, arn, name_of
from local.plugin.sagemaker.validation import operation, validate

Authorize = Callable[[str, str, dict[str, Any]], None]
"""(action, resource ARN, condition keys); raises `Denied`."""


@dataclass(frozen=True)
class Operation:
    """How one operation is answered, and on which resources its action is authorized."""

    answer: Callable[[Record], Record]
    resources: Callable[[Record], list[str]]


def _on(kind: str, member: str) -> Callable[[Record], list[str]]:
    return lambda request: [arn(kind, name_of(request[member]))]


def _on_package(member: str) -> Callable[[Record], list[str]]:
    return lambda request: [
        arn("model-package", str(request[member]).partition(":model-package/")[2] or request[member])
    ]


def _on_endpoint(request: Record) -> list[str]:
    """Return the resources of CreateEndpoint and UpdateEndpoint: the configuration counts too."""
    return [arn("endpoint", request["EndpointName"]), arn("endpoint-config", request["EndpointConfigName"])]


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
    "CreateTrainingJob": Operation(training.create, _on("training-job", _JOB)),
    "DescribeTrainingJob": Operation(training.describe, _on("training-job", _JOB)),
    "StopTrainingJob": Operation(training.stop, _on("training-job", _JOB)),
    "ListTrainingJobs": Operation(answer_list("training-job", _JOB, training.summary), _anywhere),
    "DeleteTrainingJob": Operation(training.delete, _on("training-job", _JOB)),
    "CreateHyperParameterTuningJob": Operation(tuning.create, _on(tuning.KIND, _TUNING)),
    "DescribeHyperParameterTuningJob": Operation(tuning.describe, _on(tuning.KIND, _TUNING)),
    "StopHyperParameterTuningJob": Operation(tuning.stop, _on(tuning.KIND, _TUNING)),
    "ListHyperParameterTuningJobs": Operation(answer_list(tuning.KIND, _TUNING, tuning.summary), _anywhere),
    "ListTrainingJobsForHyperParameterTuningJob": Operation(tuning.list_trials, _on(tuning.KIND, _TUNING)),
    "DeleteHyperParameterTuningJob": Operation(tuning.delete, _on(tuning.KIND, _TUNING)),
    "CreateProcessingJob": Operation(processing.create, _on("processing-job", _PROCESSING)),
    "DescribeProcessingJob": Operation(processing.describe, _on("processing-job", _PROCESSING)),
    "StopProcessingJob": Operation(processing.stop, _on("processing-job", _PROCESSING)),
    "ListProcessingJobs": Operation(
        answer_list("processing-job", _PROCESSING, processing.summary), _anywhere
    ),
    "DeleteProcessingJob": Operation(processing.delete, _on("processing-job", _PROCESSING)),
    "CreateTransformJob": Operation(transform.create, _on("transform-job", _TRANSFORM)),
    "DescribeTransformJob": Operation(transform.describe, _on("transform-job", _TRANSFORM)),
    "StopTransformJob": Operation(transform.stop, _on("transform-job", _TRANSFORM)),
    "ListTransformJobs": Operation(answer_list("transform-job", _TRANSFORM, transform.summary), _anywhere),
    "CreateModel": Operation(models.create, _on("model", "ModelName")),
    "DescribeModel": Operation(models.describe, _on("model", "ModelName")),
    "DeleteModel": Operation(models.delete, _on("model", "ModelName")),
    "ListModels": Operation(answer_list("model", "ModelName", models.summary), _anywhere),
    "CreateEndpointConfig": Operation(models.create_config, _on("endpoint-config", _CONFIG)),
    "DescribeEndpointConfig": Operation(models.describe_config, _on("endpoint-config", _CONFIG)),
    "DeleteEndpointConfig": Operation(models.delete_config, _on("endpoint-config", _CONFIG)),
    "ListEndpointConfigs": Operation(
        answer_list("endpoint-config", _CONFIG, models.config_summary), _anywhere
    ),
    "CreateEndpoint": Operation(endpoints.create, _on_endpoint),
    "UpdateEndpoint": Operation(endpoints.update, _on_endpoint),
    "UpdateEndpointWeightsAndCapacities": Operation(
        endpoints.update_capacities, _on("endpoint", "EndpointName")
    ),
    "DescribeEndpoint": Operation(endpoints.describe, _on("endpoint", "EndpointName")),
    "DeleteEndpoint": Operation(endpoints.delete, _on("endpoint", "EndpointName")),
    "ListEndpoints": Operation(answer_list("endpoint", "EndpointName", endpoints.summary), _anywhere),
    "CreateModelPackageGroup": Operation(registry.create_group, _on("model-package-group", _GROUP)),
    "DescribeModelPackageGroup": Operation(registry.describe_group, _on("model-package-group", _GROUP)),
    "DeleteModelPackageGroup": Operation(registry.delete_group, _on("model-package-group", _GROUP)),
    "ListModelPackageGroups": Operation(
        answer_list("model-package-group", _GROUP, registry.group_summary), _anywhere
    ),
    "CreateModelPackage": Operation(
        registry.create, lambda request: [arn("model-package", registry.next_name(request))]
    ),
    "DescribeModelPackage": Operation(registry.describe, _on_package("ModelPackageName")),
    "UpdateModelPackage": Operation(registry.update, _on_package("ModelPackageArn")),
    "DeleteModelPackage": Operation(registry.delete, _on_package("ModelPackageName")),
    "ListModelPackages": Operation(
        answer_list("model-package", "ModelPackageArn", registry.summary, registry.matches), _anywhere
    ),
    "AddTags": Operation(_add_tags, _tagged),
    "ListTags": Operation(lambda request: {"Tags": STORE.tags(request["ResourceArn"])}, _tagged),
    "DeleteTags": Operation(_delete_tags, _tagged),
}


def perform(name: str, request: Record, authorize: Authorize) -> Record:
    """Validate, authorize and answer one operation. Raises `ApiError` or `Denied`."""
    operation(name)
    if name not in OPERATIONS:
        raise ApiError("UnknownOperationException", f"The local SageMaker does not have {name} yet.")
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


async def handle(headers: dict[str, str], query: dict[str, list[str]], body: bytes) -> Response:
    """Answer an HTTP request (JSON 1.1, ``X-Amz-Target: SageMaker.<Operation>``)."""
    name = headers.get("x-amz-target", "").partition(".")[2]

    def authorize(action: str, resource: str, context: dict[str, Any]) -> None:
        authorize_request(headers, query, action, resource, context)

    try:
        return _json(200, perform(name, _parse(body), authorize))
    except ApiError as error:
        return _json(error.status, {"__type": error.code, "message": error.message}, error.code)
    except Denied as denied:
        return _json(
            400, {"__type": "AccessDeniedException", "Message": denied.message}, "AccessDeniedException"
        )


def _parse(body: bytes) -> Record:
    try:
        request = json.loads(body or b"{}")
    except json.JSONDecodeError as error:
        raise ApiError("SerializationException", f"The body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise invalid("The body must be a JSON object.")
    return request


def _json(status: int, content: dict[str, Any], error: str = "") -> Response:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    if error:
        headers["x-amzn-errortype"] = error
    return status, headers, json.dumps(content).encode()
