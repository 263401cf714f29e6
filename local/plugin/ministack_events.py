"""The part of `ministack_adapter` for EventBridge, its Scheduler and what they call."""

import contextvars
import json
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import eventbridge, lambda_svc, scheduler

from local.environment import ACCOUNT, REGION
from local.plugin.async_calls import MAXIMUM_AGE_SECONDS, MAXIMUM_RETRIES, AsyncCall, Outcome
from local.plugin.ministack_adapter import Response

Json = dict[str, Any]


def name_schedules_by_group() -> None:
    """Authorize schedules as ``schedule/<group>/<name>``; MiniStack puts every schedule in ``default``."""
    known = iam_actions.extract_resource_arn

    def resource_arn(service: str, method: str, path: str, *rest: Any) -> str:
        arn = str(known(service, method, path, *rest))
        if service != "scheduler" or ":schedule/" not in arn:
            return arn
        _, body, query, *_ = rest
        given = query.get("groupName") or (json.loads(body).get("GroupName") if body else None) or "default"
        group = given[0] if isinstance(given, list) else given
        return f"{arn.partition(':schedule/')[0]}:schedule/{group}/{arn.rpartition('/')[2]}"

    iam_actions.extract_resource_arn = resource_arn


def before_saving_schedules(
    check: Callable[[dict[str, str], dict[str, list[str]], Json], tuple[int, str, str] | None],
) -> None:
    """Call `check` with headers, query and body before a schedule is made or moved.

    It returns nothing, or the status, code and message that refuse the request.
    """
    handle = app.SERVICE_HANDLERS["scheduler"]

    async def handler(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Response:
        if method in ("POST", "PUT") and path.startswith("/schedules/"):
            if refused := check(headers, query, json.loads(body or b"{}")):
                status, code, message = refused
                content = json.dumps({"Message": message}).encode()
                return status, {"Content-Type": "application/json", "x-amzn-errortype": code}, content
            scheduler._schedule_last_fired.pop((ACCOUNT, REGION, _key(path, body)), None)
        answer: Response = await handle(method, path, headers, body, query)
        return answer

    app.SERVICE_HANDLERS["scheduler"] = handler


def _key(path: str, body: bytes) -> str:
    group = json.loads(body or b"{}").get("GroupName", "default")
    return f"{group}/{path.rpartition('/')[2]}"


def tick_schedules_every(seconds: float) -> None:
    """Set how often due schedules are looked for."""
    scheduler._SCHEDULE_TICK_INTERVAL = seconds


def before_targets(check: Callable[[Json, Json], bool]) -> None:
    """Call `check` with target and rule (or schedule) before an event is delivered; False drops it."""
    invoke = eventbridge._invoke_target

    def invoke_target(target: Json, event: Json, rule: Json, view: Any = None) -> None:
        if check(target, rule):
            invoke(target, event, rule, view)

    eventbridge._invoke_target = invoke_target


def queue_functions(enqueue: Callable[[AsyncCall], None]) -> None:
    """Hand each asynchronous call of a function to `enqueue`, whoever makes it."""

    def invoke(record: Json, event: Any) -> None:
        enqueue(_async_call(record, event))

    def dispatch(arn: str, payload: str) -> None:
        function, configuration, _ = lambda_svc._get_func_record_for_ref(arn)
        if function and configuration:
            invoke(lambda_svc._execution_record_for_config(function, configuration), json.loads(payload))

    eventbridge._dispatch_to_lambda = dispatch
    lambda_svc.invoke_async_with_retry = invoke


def _async_call(record: Json, event: Any) -> AsyncCall:
    configuration = record.get("config") or record
    name = str(configuration["FunctionName"])
    settings = record.get("event_invoke_config") or (record.get("event_invoke_configs") or {}).get("$LATEST")
    settings = settings or {}
    destination = (settings.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
    destination = destination or (configuration.get("DeadLetterConfig") or {}).get("TargetArn")
    context = contextvars.copy_context()
    last: Json = {}

    def run() -> Outcome:
        result = context.run(lambda_svc._execute_function_with_config_scope, record, event)
        last.clear()
        last.update(result)
        if result.get("throttle"):
            return "throttled"
        return "failed" if result.get("error") else "done"

    def give_up() -> None:
        if destination:
            context.run(lambda_svc._route_async_failure, destination, name, event, last)

    return AsyncCall(
        function=name,
        run=run,
        give_up=give_up,
        retries=int(settings.get("MaximumRetryAttempts", MAXIMUM_RETRIES)),
        age_seconds=float(settings.get("MaximumEventAgeInSeconds", MAXIMUM_AGE_SECONDS)),
    )


def service_may_invoke(function_arn: str, service: str, source_arn: str) -> bool:
    """Tell whether the function's own policy (``AWS::Lambda::Permission``) lets an AWS service call it."""
    found = lambda_svc.function_policy_for_arn(function_arn)
    policy = found[0] if found else {}
    request = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=ACCOUNT,
        action="lambda:InvokeFunction",
        resource_arn=function_arn,
        region=REGION,
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": ACCOUNT},
    )
    return any(
        statement.get("Effect") == "Allow"
        and iam_evaluator._service_principal_matches(statement.get("Principal"), service)
        and iam_evaluator._conditions_met(statement.get("Condition") or {}, request)
        for statement in policy.get("Statement", [])
    )
