"""The other half of `ministack_adapter`: MiniStack's functions and REST APIs, for the web's way in.

Like that module, this is where MiniStack's untyped internals end; the logic lives in the modules
that use it.
"""

import contextlib
import hashlib
import json
import queue
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ministack.core import iam_evaluator, lambda_runtime
from ministack.services import apigateway_v1, cloudwatch_logs, lambda_svc
from ministack.services.cloudformation import custom_resource, provisioners

from local.environment import REGION
from local.plugin.ministack_adapter import Response
from local.plugin.web_adapter import EXEC_WRAPPER, WebFunction
from local.plugin.web_request import Event, Invocation

STREAM = "STREAM"
"""``responseTransferMode`` of an integration whose answer is passed on as it comes."""

LONGEST_EVENT = 6_291_456
"""Bytes of what a function is called with: of the 10 MB that API Gateway takes, a function gets these."""

Invoker = Callable[["RestCall"], Awaitable[Response]]
Execution = dict[str, Any]
"""What MiniStack's executors return: ``body``, ``log`` and, for a failure, ``error``."""


class Throttled(RuntimeError):  # noqa: N818 (AWS's word)
    """The function's concurrency is used up."""


@dataclass(frozen=True)
class Function:
    """A function as MiniStack keeps it."""

    record: dict[str, Any]

    @property
    def configuration(self) -> dict[str, Any]:
        """As GetFunctionConfiguration shows it."""
        configuration: dict[str, Any] = self.record["config"]
        return configuration

    @property
    def arn(self) -> str:
        """The unqualified ARN."""
        return str(self.configuration["FunctionArn"])

    @property
    def name(self) -> str:
        """The function's name."""
        return str(self.configuration["FunctionName"])

    @property
    def timeout_seconds(self) -> float:
        """How long one invocation may take."""
        return float(self.configuration.get("Timeout", 3))

    def invocation(self, request_id: str) -> Invocation:
        """Return the data of the context object of one invocation."""
        memory = int(self.configuration.get("MemorySize", 128))
        return Invocation(request_id, self.arn, self.name, self.timeout_seconds, memory)

    def as_web_function(self) -> WebFunction | None:
        """Return the function as the Web Adapter sees it; None for one that does not use it."""
        variables = (self.configuration.get("Environment") or {}).get("Variables") or {}
        if variables.get("AWS_LAMBDA_EXEC_WRAPPER") != EXEC_WRAPPER or not self.record.get("code_zip"):
            return None
        settings = ("CodeSha256", "Handler", "Environment", "Role", "Timeout", "MemorySize", "RevisionId")
        relevant = {name: self.configuration.get(name) for name in settings}
        return WebFunction(
            identity=f"{web_identity_prefix(self.arn)}{self.configuration.get('Version', '$LATEST')}",
            generation=hashlib.sha256(json.dumps(relevant, default=str).encode()).hexdigest(),
            start_script=str(self.configuration["Handler"]),
            code=self.record["code_zip"],
            environment=self._environment,
            timeout_seconds=self.timeout_seconds,
            open_log=lambda: FunctionLog(self),
        )

    def _environment(self) -> dict[str, str]:
        """Return MiniStack's environment of an invocation, which holds credentials of the function's role."""
        environment = self.in_scope(lambda_svc._provided_worker_env, self.configuration, "", 0)
        for name in ("AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_EXEC_WRAPPER"):
            environment.pop(name, None)
        return {name: str(value) for name, value in environment.items()}

    @contextlib.contextmanager
    def concurrency_slot(self) -> Iterator[None]:
        """Occupy one unit of the function's concurrency. Raises `Throttled` when there is none."""
        slot, limit = lambda_svc._acquire_execution_slot(self.record, self.configuration)
        if slot is None:
            raise Throttled(f"Function {self.name} has reached the concurrency limit of the {limit}.")
        try:
            yield
        finally:
            lambda_svc._release_execution_slot(slot)

    def count_invocation(self, milliseconds: int, *, failed: bool) -> None:
        """Write one invocation into CloudWatch's metrics of the function."""
        self.in_scope(lambda_svc._emit_lambda_metrics, self.name, float(milliseconds), failed, throttle=False)

    def in_scope(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call into MiniStack as the account and the region of this function."""
        return lambda_svc._run_with_function_config_scope(self.record, call, *arguments, **named)


class FunctionLog:
    """A stream in CloudWatch Logs for one running environment of a function, written to as it prints."""

    def __init__(self, function: Function) -> None:
        """Open a stream in the function's log group, which is made if need be."""
        self._function = function
        configured = (function.configuration.get("LoggingConfig") or {}).get("LogGroup")
        group = configured or f"/aws/lambda/{function.name}"
        version = function.configuration.get("Version", "$LATEST")
        stream = f"{datetime.now(UTC):%Y/%m/%d}/[{version}]{uuid.uuid4().hex}"
        self._where = {"logGroupName": group, "logStreamName": stream}
        # One that exists is left as it is.
        function.in_scope(cloudwatch_logs._create_log_group, {"logGroupName": group})
        function.in_scope(cloudwatch_logs._create_log_stream, self._where)

    def __call__(self, line: str) -> None:
        """Write one line, with the time of now."""
        event = {"timestamp": int(time.time() * 1000), "message": line}
        put = {**self._where, "logEvents": [event]}
        self._function.in_scope(cloudwatch_logs._put_log_events, put)


def web_identity_prefix(function_arn: str) -> str:
    """Return ``account:region:name:``, the start of the identities of a function's web servers."""
    _, _, _, region, account, _, name = function_arn.split(":")[:7]
    return f"{account}:{region}:{name}:"


@dataclass(frozen=True)
class RestCall:
    """One call of a REST API's method whose integration is a Lambda proxy; it is authorized already."""

    integration: dict[str, Any]
    event: Event
    source_arn: str
    """``arn:aws:execute-api:…``: what a function's permission names."""

    function: Function | None


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


def find_function(reference: str, account: str, region: str) -> Function | None:
    """Find the function of an ARN or a name, with its qualifier if any."""
    record, configuration, _ = lambda_svc._get_func_record_for_ref_in_scope(
        reference, account_id=account, region=region
    )
    if record is None or configuration is None:
        return None
    return Function(lambda_svc._execution_record_for_config(record, configuration))


def gateway_error(kind: str, message: str) -> Any:
    """Return an error of API Gateway itself, formatted by the API's gateway responses."""
    return apigateway_v1._gw_error(kind, message)


def guard_authorizers(permitted: Callable[[Function, str], bool]) -> None:
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


def service_may_invoke(function: Function, service: str, source_arn: str) -> bool:
    """Tell whether the function's own policy lets `service` invoke it on behalf of `source_arn`."""
    request = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="lambda:InvokeFunction",
        resource_arn=function.arn,
        region=REGION,
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": function.arn.split(":")[4]},
    )
    policy = function.record.get("policy")
    return bool(iam_evaluator.evaluate_resource_policy(policy, request, service=service).decision == "Allow")


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


def wrap_warm_executor(execute: Callable[[Function, Event, str], Execution | None]) -> None:
    """Let `execute` run an invocation; when it returns None, MiniStack's own worker does."""
    original = lambda_svc._execute_function_warm

    def run(record: dict[str, Any], event: Event, request_id: str) -> Any:
        function = Function(record if "config" in record else {"config": record})
        done = execute(function, event, request_id)
        return original(record, event, request_id) if done is None else done

    lambda_svc._execute_function_warm = run


def on_code_or_settings_change(forget: Callable[[str], None]) -> None:
    """Call `forget` with an identity prefix (`web_identity_prefix`) when a function changes or goes."""
    original = lambda_runtime.invalidate_worker

    def invalidate(name: str, *rest: Any, **named: Any) -> Any:
        account, region = lambda_svc.get_account_id(), lambda_svc.get_region()
        forget(f"{account}:{region}:{name}:")
        return original(name, *rest, **named)

    lambda_svc.invalidate_worker = invalidate


def prepend_to_python_worker(source: str) -> None:
    """Run `source` at the beginning of every Python function's worker process."""
    lambda_runtime._PYTHON_WORKER_SCRIPT = source + "\n" + lambda_runtime._PYTHON_WORKER_SCRIPT


_AFTER_RESULT = "        _real_stdout.flush()\n\nrun()\n"


def end_logs_with(mark: str, longest_seconds: float) -> None:
    """Let Python functions' workers write `mark` where an invocation's log ends, and read up to it."""
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if script.count(_AFTER_RESULT) != 1:
        raise RuntimeError("MiniStack's Python worker hands results over in another way than 1.5.33's does.")
    written = f"        print({mark!r}, file=sys.stderr, flush=True)\n"
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(_AFTER_RESULT, written + _AFTER_RESULT)
    original = lambda_runtime.Worker._drain_stderr_bounded

    def read(worker: Any, *waits: float, **named_waits: float) -> str:
        if not str(worker.config.get("Runtime")).startswith("python"):
            return str(original(worker, *waits, **named_waits))
        return "\n".join(_lines_until(mark, worker._stderr_queue, time.monotonic() + longest_seconds))

    lambda_runtime.Worker._drain_stderr_bounded = read


def _lines_until(mark: str, lines: "queue.Queue[str]", deadline: float) -> Iterator[str]:
    with contextlib.suppress(queue.Empty):
        while True:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            # What was printed without a line feed at its end stands before the mark.
            if line.endswith(mark):
                if line != mark:
                    yield line.removesuffix(mark)
                return
            yield line


def reserve_variables(*names: str) -> None:
    """Keep functions from setting these variables: they inherit MiniStack's own values."""
    for module in (lambda_runtime, lambda_svc):
        module._RESERVED_RUNTIME_ENV_VARS.update(names)


_PROCESS_DIED = "Worker process died"


def name_dead_processes(answer: dict[str, str]) -> None:
    """Answer `answer` for a function whose process ended before it answered."""
    original = lambda_svc._execute_function_warm

    def run(record: dict[str, Any], event: Event, request_id: str) -> Any:
        result = original(record, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict) and body.get("errorMessage") == _PROCESS_DIED:
            return {**result, "body": answer}
        return result

    lambda_svc._execute_function_warm = run


def fail_broken_custom_resources() -> None:
    """Answer CloudFormation for a custom resource's function that ended in an error without answering.

    CloudFormation would wait for an hour, here as on AWS, which helps nobody on one machine.
    """
    original = lambda_svc._execute_function_warm

    def run(record: dict[str, Any], event: Event, request_id: str) -> Any:
        result = original(record, event, request_id)
        if result.get("error") and isinstance(event, dict) and {"ResponseURL", "RequestType"} <= event.keys():
            _fail_custom_resource(event, str(result["body"].get("errorMessage", "The function failed.")))
        return result

    lambda_svc._execute_function_warm = run


def _fail_custom_resource(event: Event, reason: str) -> None:
    token = str(event["ResponseURL"]).rpartition("/")[2]
    waiting = custom_resource._pending.get(token)
    if waiting is None or waiting["result"] is not None:
        return
    identity = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    physical = event.get("PhysicalResourceId") or event["RequestId"]
    answer = {"Status": "FAILED", "Reason": reason, "PhysicalResourceId": physical, **identity}
    custom_resource.deliver_response(token, answer)


_ON_EXCEPTION = 'json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})'


def hand_over_exceptions(expression: str, mark: str) -> None:
    """Let the Python worker hand an exception ``e`` over as the result `expression` and live on.

    `expression` is a dict whose key `mark` holds the error as Lambda answers it.
    """
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if script.count(_ON_EXCEPTION) != 1:
        raise RuntimeError("MiniStack's Python worker reports exceptions in another way than 1.5.33's does.")
    handed_over = f'json.dumps({{"status": "ok", "result": {expression}}})'
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(_ON_EXCEPTION, handed_over)
    original = lambda_svc._execute_function_warm

    def run(record: dict[str, Any], event: Event, request_id: str) -> Any:
        result = original(record, event, request_id)
        body = result.get("body")
        if isinstance(body, dict) and mark in body:
            return {"body": body[mark], "error": True, "log": result.get("log", "")}
        return result

    lambda_svc._execute_function_warm = run
