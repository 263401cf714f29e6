"""API Gateway's REST APIs: permissions to invoke, metrics, the access log, and the log of executions.

A 5XXError is any answer of 500 and above, from API Gateway or from the function: a function that answers 503
counts as much as one that crashed.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html

With execution logging on, API Gateway makes a log group that belongs to no stack and never expires:
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
"""

import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ministack.services import apigateway_v1
from ministack.services.cloudformation import provisioners

from local.aws.service_handlers import Response
from local.aws.services import cloudwatch, logs
from local.aws.services.cloudformation import after_creating, before_creating
from local.aws.services.lambda_functions import Execution, LambdaFunction, Throttled, find_function
from local.aws.services.proxy_events import Event

LONGEST_EVENT = 6_291_456
"""Bytes of what a function is called with: of the 10 MB that API Gateway takes, a function gets these."""
Invoker = Callable[["RestCall"], Awaitable[Response]]
_NOTHING = "-"
"""What stands in the access log for a variable without a value."""


@dataclass(frozen=True)
class RestCall:
    """One call of a REST API's method whose integration is a Lambda proxy; it is authorized already."""

    integration: dict[str, Any]
    event: Event
    source_arn: str
    """``arn:aws:execute-api:…``: what a function's permission names."""

    function: LambdaFunction | None


@dataclass(frozen=True)
class RestRequest:
    """One request of a REST API's stage, whatever its outcome."""

    method: str
    api_name: str
    stage_name: str
    stage: Mapping[str, Any] | None
    """As GetStage shows it; None if there is no such stage."""


def install() -> None:
    """Change the REST APIs of this process's MiniStack; `streaming` adds streamed answers."""
    keep_transfer_mode()
    after_creating("AWS::ApiGateway::Stage", _log_executions)
    keep_access_log_settings()
    require_log_role()
    wrap_rest_requests(_recorded)


def wrap_lambda_proxy(make: Callable[[Invoker], Invoker]) -> None:
    """Let ``make(original)`` run REST APIs' Lambda proxy integrations; `original` is MiniStack's own."""
    original = apigateway_v1._invoke_lambda_proxy_v1

    async def invoke(
        integration: dict[str, Any], api_id: str, stage_name: str, *rest: Any, **named: Any
    ) -> Any:
        account, region = named.pop("owner_account_id"), named.pop("owner_region")

        async def unchanged(_: RestCall) -> Any:
            scope = {"owner_account_id": account, "owner_region": region}
            try:
                return await original(integration, api_id, stage_name, *rest, **scope, **named)
            except Throttled:
                return gateway_error("INTEGRATION_FAILURE", "Internal server error")

        event = apigateway_v1._build_lambda_event_v1(api_id, stage_name, *rest, **named)
        if len(json.dumps(event).encode()) > LONGEST_EVENT:
            return gateway_error("REQUEST_TOO_LARGE", "Request Too Long")
        reference = lambda_reference(integration.get("uri", ""))
        return await make(unchanged)(
            RestCall(
                integration=integration,
                event=event,
                source_arn=method_arn(event["requestContext"], account, region),
                function=find_function(reference, account, region),
            )
        )

    apigateway_v1._invoke_lambda_proxy_v1 = invoke
    shape = apigateway_v1._lambda_proxy_response

    def response(result: Execution) -> Any:
        if result.get("throttle"):  # a 429 that the function itself sends is another matter
            raise Throttled("The function has reached a limit of its concurrency.")
        return shape(result)

    apigateway_v1._lambda_proxy_response = response


def lambda_reference(uri: str) -> str:
    """Return the function's ARN in an integration URI.

    It ends in ``/invocations`` or in ``/response-streaming-invocations``.
    """
    return uri.partition("/functions/")[2].rpartition("/")[0] or uri


def method_arn(context: dict[str, Any], account: str, region: str) -> str:
    """Return the ARN of a REST API's method from an event's request context."""
    api = f"arn:aws:execute-api:{region}:{account}:{context['apiId']}"
    return f"{api}/{context['stage']}/{context['httpMethod']}{context['resourcePath']}"


def gateway_error(kind: str, message: str) -> Any:
    """Return an error of API Gateway itself, formatted by the API's gateway responses."""
    return apigateway_v1._gw_error(kind, message)


def guard_authorizers(permitted: Callable[[LambdaFunction, str], bool]) -> None:
    """Run a Lambda authorizer only when ``permitted(function, source_arn)``, else call it misconfigured."""
    original = apigateway_v1._invoke_authorizer_lambda

    async def invoke(authorizer: dict[str, Any], event: Event, account: str, region: str) -> Any:
        api = str(event["methodArn"]).partition("/")[0]
        function = find_function(lambda_reference(authorizer.get("authorizerUri", "")), account, region)
        if function and not authorizer.get("authorizerCredentials"):
            source = f"{api}/authorizers/{authorizer['id']}"
            if not permitted(function, source):
                return None
        return await original(authorizer, event, account, region)

    apigateway_v1._invoke_authorizer_lambda = invoke


def keep_transfer_mode() -> None:
    """Keep ``responseTransferMode`` of integrations, which MiniStack drops."""
    put = apigateway_v1._put_integration
    create = provisioners._apigw_method_create

    def put_integration(api: str, resource: str, method: str, data: dict[str, Any]) -> Any:
        answer = put(api, resource, method, data)
        if "responseTransferMode" in data and answer[0] < 400:
            _stored(api, resource, method)["responseTransferMode"] = data["responseTransferMode"]
            return apigateway_v1._v1_response(_stored(api, resource, method), 201)
        return answer

    def create_method(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        created = create(logical_id, properties, stack)
        integration = properties.get("Integration") or {}
        if "ResponseTransferMode" in integration:
            where = properties["RestApiId"], properties["ResourceId"], properties["HttpMethod"]
            _stored(*where)["responseTransferMode"] = integration["ResponseTransferMode"]
        return created

    apigateway_v1._put_integration = put_integration
    provisioners._apigw_method_create = create_method
    provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::Method"]["create"] = create_method


def _stored(api: str, resource: str, method: str) -> dict[str, Any]:
    integration: dict[str, Any] = apigateway_v1._resources[api][resource]["resourceMethods"][method][
        "methodIntegration"
    ]
    return integration


def wrap_rest_requests(
    wrapper: Callable[[RestRequest, Callable[[], Awaitable[Response]]], Awaitable[Response]],
) -> None:
    """Pass every request of a REST API to `wrapper`, with a function that returns MiniStack's answer."""
    original = apigateway_v1._handle_execute_in_scope

    async def handle(api_id: str, stage_name: str, method: str, *rest: Any, **named: Any) -> Any:
        request = RestRequest(
            method=method,
            api_name=str((apigateway_v1._rest_apis.get(api_id) or {}).get("name")),
            stage_name=stage_name,
            stage=(apigateway_v1._stages_v1.get(api_id) or {}).get(stage_name),
        )

        async def answer() -> Any:
            return await original(api_id, stage_name, method, *rest, **named)

        return await wrapper(request, answer)

    apigateway_v1._handle_execute_in_scope = handle


def keep_access_log_settings() -> None:
    """Keep a template's `AccessLogSetting` of a stage, which MiniStack drops."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::Stage"]
    create, update = handlers["create"], handlers["update"]

    def create_stage(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        created = create(logical_id, properties, stack)
        _keep(properties)
        return created

    def update_stage(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Any:
        updated = update(physical_id, old, new, stack)
        _keep(new)
        return updated

    handlers.update(create=create_stage, update=update_stage)


def _keep(properties: dict[str, Any]) -> None:
    setting = properties.get("AccessLogSetting") or {}
    stage = apigateway_v1._stages_v1[properties["RestApiId"]][properties["StageName"]]
    stage["accessLogSettings"] = {
        name: setting[key]
        for key, name in (("DestinationArn", "destinationArn"), ("Format", "format"))
        if key in setting
    }


async def _recorded(request: RestRequest, answer: Callable[[], Awaitable[Response]]) -> Response:
    started = time.time()
    response = await answer()
    status, headers = response[0], response[1]
    if request.stage is None:
        return response
    values = {
        "Count": 1.0,
        "4XXError": float(400 <= status < 500),
        "5XXError": float(status >= 500),
        "Latency": (time.time() - started) * 1000,
    }
    of_api = {"ApiName": request.api_name}
    for dimensions in (of_api, {**of_api, "Stage": request.stage_name}):
        cloudwatch.record_metrics("AWS/ApiGateway", values, dimensions)
    logging = request.stage.get("accessLogSettings") or {}
    if logging.get("destinationArn") and logging.get("format"):
        line = _line(logging["format"], _variables(request, status, headers, started))
        group = logging["destinationArn"].split(":log-group:")[1].removesuffix(":*")
        logs.write_line(group, f"{datetime.now(UTC):%Y-%m-%d}", line, int(started * 1000))
    return response


def _variables(request: RestRequest, status: int, headers: dict[str, str], started: float) -> dict[str, str]:
    """Return the values of `$context`, as far as there are any here."""
    # The header is on every answer that API Gateway itself gives, and on none of a function's.
    by_gateway = any(name.lower() == "x-amzn-errortype" for name in headers)
    return {
        "requestId": str(uuid.uuid4()),
        "identity.sourceIp": "127.0.0.1",
        "requestTime": f"{datetime.fromtimestamp(started, UTC):%d/%b/%Y:%H:%M:%S +0000}",
        "httpMethod": request.method,
        "protocol": "HTTP/1.1",
        "status": str(status),
        "integration.status": _NOTHING if by_gateway else str(status),
    }


def _line(form: str, variables: dict[str, str]) -> dict[str, Any]:
    filled = re.sub(r"\$context\.([\w.]+)", lambda found: variables.get(found[1], _NOTHING), form)
    line: dict[str, Any] = json.loads(filled)
    return line


def require_log_role() -> None:
    """Refuse a stage that logs as long as the account's API Gateway has no role to write logs with."""

    def check(_: str, properties: dict[str, Any]) -> str | None:
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


def _log_executions(name: str, stage: dict[str, Any]) -> None:
    levels = {setting.get("LoggingLevel", "OFF") for setting in stage.get("MethodSettings") or []}
    if levels - {"OFF"}:
        logs.ensure_log_group(f"API-Gateway-Execution-Logs_{stage['RestApiId']}/{stage['StageName']}")
