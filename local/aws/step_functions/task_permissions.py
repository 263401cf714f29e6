"""Permissions of tasks: AWS asks the state machine's own role before each of them."""

from uuid import uuid4

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.services.iam import Denied, authorize_role, authorize_role_somewhere
from local.aws.step_functions.executions import INTEGRATION_PREFIX, Execution, Json, TaskError, sdk_call

_PLAIN_INTEGRATIONS = {
    "sns:publish": ("sns:Publish", "TopicArn"),
    "sqs:sendMessage": ("sqs:SendMessage", ""),
    "events:putEvents": ("events:PutEvents", ""),
    "ecs:runTask": ("ecs:RunTask", "TaskDefinition"),
    "states:startExecution": ("states:StartExecution", "StateMachineArn"),
}


def authorize_task(execution: Execution, resource: str, content: Json) -> None:
    """Raise `TaskError` unless the machine's role may do what the task does."""
    if ":activity:" in resource or resource.startswith(f"{INTEGRATION_PREFIX}sagemaker:"):
        return  # `sagemaker.api` authorizes jobs
    if ":function:" in resource or resource.startswith(f"{INTEGRATION_PREFIX}lambda:"):
        _authorize_lambda(execution, resource, content)
    elif resource.startswith(f"{INTEGRATION_PREFIX}aws-sdk:"):
        action, on = sdk_call(resource, content)
        require_permission(execution, action, on, f"{resource.split(':')[6].title()}.AccessDeniedException")
    elif resource.startswith(INTEGRATION_PREFIX):
        _authorize_integration(execution, resource.removeprefix(INTEGRATION_PREFIX).split(".")[0], content)


def _authorize_lambda(execution: Execution, resource: str, content: Json) -> None:
    function = str(content.get("FunctionName", "")) if resource.startswith(INTEGRATION_PREFIX) else resource
    function = function.removesuffix(":$LATEST")
    if not function.startswith("arn:"):
        function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"
    require_permission(execution, "lambda:InvokeFunction", function, "Lambda.AWSLambdaException")


def _authorize_integration(execution: Execution, name: str, content: Json) -> None:
    service, _, action = name.partition(":")
    error = f"{service.upper() if len(service) == 3 else service.title()}.AccessDeniedException"
    if service == "dynamodb":
        table = content.get("TableName", "")
        on = table if table.startswith("arn:") else f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"
        require_permission(execution, f"dynamodb:{action[:1].upper()}{action[1:]}", on, error)
    elif name in _PLAIN_INTEGRATIONS:
        permission, member = _PLAIN_INTEGRATIONS[name]
        require_permission(execution, permission, str(content.get(member, "*")), error)


def require_permission(execution: Execution, action: str, resource: str, error: str) -> None:
    """Raise `TaskError` with the name `error` unless the execution's role may do `action` on `resource`."""
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
