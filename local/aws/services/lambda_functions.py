"""Lambda's functions: their records, permissions and logs, and the sizes that AWS refuses."""

import contextlib
import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ministack.core import iam_evaluator, lambda_runtime
from ministack.core.responses import error_response_json
from ministack.services import cloudwatch_logs, lambda_svc

from local.aws.cloud_environment import REGION
from local.aws.service_handlers import HttpRequest, Response, before_requests
from local.aws.services.cloudformation import before_creating
from local.aws.services.proxy_events import Event, Invocation
from local.aws.services.web_adapter import EXEC_WRAPPER, WebFunction

Json = dict[str, Any]

Execution = dict[str, Any]
"""What MiniStack's executors return: ``body``, ``log`` and, for a failure, ``error``."""
VARIABLES_BYTES = 4 * 1024
REQUEST_BYTES, EVENT_BYTES = 6_291_456, 1_048_576
"""The largest payload of a synchronous and of an asynchronous call."""
ANSWER_BYTES = 6_291_556
_INVOCATION = re.compile(r"/\d{4}-\d\d-\d\d/functions/[^/]+/(invocations|response-streaming-invocations)/?")


def install() -> None:
    """Hold the functions of this process's MiniStack to Lambda's sizes."""
    limit_functions()


class Throttled(RuntimeError):  # noqa: N818 (AWS's word)
    """The function's concurrency is used up."""


@dataclass(frozen=True)
class LambdaFunction:
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

    def __init__(self, function: LambdaFunction) -> None:
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


def find_function(reference: str, account: str, region: str) -> LambdaFunction | None:
    """Find the function of an ARN or a name, with its qualifier if any."""
    record, configuration, _ = lambda_svc._get_func_record_for_ref_in_scope(
        reference, account_id=account, region=region
    )
    if record is None or configuration is None:
        return None
    return LambdaFunction(lambda_svc._execution_record_for_config(record, configuration))


def service_may_invoke(function: LambdaFunction, service: str, source_arn: str) -> bool:
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


def wrap_warm_executor(execute: Callable[[LambdaFunction, Event, str], Execution | None]) -> None:
    """Let `execute` run an invocation; when it returns None, MiniStack's own worker does."""
    original = lambda_svc._execute_function_warm

    def run(record: dict[str, Any], event: Event, request_id: str) -> Any:
        function = LambdaFunction(record if "config" in record else {"config": record})
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
