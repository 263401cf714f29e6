"""The part of `ministack_adapter` for sizes and contents that AWS refuses and MiniStack takes.

Lambda's variables and payloads, the subject of an e-mail, a stage that logs without a role, and a full bucket
that CloudFormation is to delete.
"""

import json
import re
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import apigateway_v1, lambda_svc, s3, sns
from ministack.services.cloudformation import provisioners

from local.plugin.ministack_adapter import HttpRequest, Response, before_requests
from local.plugin.ministack_cloudformation import before_creating

Json = dict[str, Any]

VARIABLES_BYTES = 4 * 1024
REQUEST_BYTES, EVENT_BYTES = 6_291_456, 1_048_576
"""The largest payload of a synchronous and of an asynchronous call."""
ANSWER_BYTES = 6_291_556
SUBJECT_CHARACTERS = 100
"""A subject is shorter than this."""
_INVOCATION = re.compile(r"/\d{4}-\d\d-\d\d/functions/[^/]+/(invocations|response-streaming-invocations)/?")


def limit_functions() -> None:
    """Refuse too many variables and too large payloads, and fail a function whose answer is too large."""
    create, update, execute = (
        lambda_svc._create_function,
        lambda_svc._update_config,
        lambda_svc._execute_function,
    )

    def create_function(data: Json) -> Any:
        return _refuse_variables(data) or create(data)

    def update_config(name: str, data: Json) -> Any:
        return _refuse_variables(data) or update(name, data)

    def execute_function(function: Json, event: Any) -> Json:
        result: Json = execute(function, event)
        return result if result.get("error") else _checked_answer(result)

    lambda_svc._create_function = create_function
    lambda_svc._update_config = update_config
    lambda_svc._execute_function = execute_function
    before_creating("AWS::Lambda::Function", lambda _, properties: _message(_refuse_variables(properties)))
    before_requests("lambda", _refuse_payload)


def _refuse_variables(asked: Json) -> Any:
    variables = json.dumps((asked.get("Environment") or {}).get("Variables") or {}, separators=(",", ":"))
    if len(variables.encode()) <= VARIABLES_BYTES:
        return None
    message = (
        "Lambda was unable to configure your environment variables because the environment variables you "
        f"have provided exceeded the 4KB limit. String measured: {variables}"
    )
    return error_response_json("InvalidParameterValueException", message, 400)


def _message(refused: Any) -> str | None:
    return None if refused is None else str(json.loads(refused[2])["message"])


def _refuse_payload(request: HttpRequest) -> Response | None:
    if not _INVOCATION.fullmatch(request.path):
        return None
    most = EVENT_BYTES if request.headers.get("x-amz-invocation-type") == "Event" else REQUEST_BYTES
    if len(request.body) <= most:
        return None
    refused: Response = error_response_json(
        "RequestTooLargeException",
        f"Request must be smaller than {most} bytes for the InvokeFunction operation",
        413,
    )
    return refused


def _checked_answer(result: Json) -> Json:
    body = result.get("body")
    text = body if isinstance(body, str | bytes) else json.dumps(body, ensure_ascii=False)
    size = len(text.encode() if isinstance(text, str) else text)
    if size <= ANSWER_BYTES:
        return result
    message = (
        f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({ANSWER_BYTES} bytes)."
    )
    return {
        "body": {"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"},
        "error": True,
        "function_error": "Unhandled",
        "log": result.get("log", ""),
    }


def check_subjects() -> None:
    """Refuse a message whose subject an e-mail cannot have."""
    publish = sns._publish

    def publish_checked(parameters: Json) -> Any:
        subject = str(sns._p(parameters, "Subject") or "")
        if len(subject) >= SUBJECT_CHARACTERS or any(not character.isprintable() for character in subject):
            return sns._error("InvalidParameter", "Invalid parameter: Subject", 400)
        return publish(parameters)

    sns._publish = publish_checked


def require_log_role() -> None:
    """Refuse a stage that logs as long as the account's API Gateway has no role to write logs with."""

    def check(_: str, properties: Json) -> str | None:
        methods = properties.get("MethodSettings") or []
        logs = properties.get("AccessLogSetting") or any(
            method.get("LoggingLevel", "OFF") != "OFF" for method in methods
        )
        settings = apigateway_v1._account_settings.get("settings") or {}
        if not logs or settings.get("cloudwatchRoleArn"):
            return None
        return (
            'Resource handler returned message: "CloudWatch Logs role ARN must be set in account settings to '
            'enable logging (Service: ApiGateway, Status Code: 400)"'
        )

    before_creating("AWS::ApiGateway::Stage", check)


def refuse_to_delete_full_buckets() -> None:
    """Fail the deletion of a bucket that holds anything, when CloudFormation deletes it too."""
    kind = provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]
    delete = kind["delete"]

    def delete_bucket(name: str, properties: Json) -> None:
        bucket = s3._buckets.get(name)
        if bucket and (bucket["objects"] or s3._bucket_has_versions(name)):
            raise ValueError(
                'Resource handler returned message: "The bucket you tried to delete is not empty. You must '
                'delete all versions in the bucket. (Service: S3, Status Code: 409)"'
            )
        delete(name, properties)

    kind["delete"] = delete_bucket
