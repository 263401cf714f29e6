"""EventBridge and its Scheduler as on AWS: they act under a role or a function's permission.

A rule calls a function only if the function's own policy allows it; a schedule calls its target
with its role, which the caller who creates the schedule must be allowed to pass. Events for functions go
through Lambda's queue for asynchronous calls (`async_calls`).
"""

import json
import logging
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import eventbridge, lambda_svc, scheduler

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.service_handlers import Response
from local.aws.services.iam import Denied, authorize_request, authorize_role, role_trusts

Json = dict[str, Any]
SCHEDULER = "scheduler.amazonaws.com"
EVENTS = "events.amazonaws.com"
TICK_SECONDS = 1.0
_SCHEDULED_ACTIONS = {
    "lambda": "lambda:InvokeFunction",
    "states": "states:StartExecution",
    "sns": "sns:Publish",
    "sqs": "sqs:SendMessage",
}
logger = logging.getLogger("local_aws.events")


def install() -> None:
    """Change the EventBridge and the Scheduler of this process's MiniStack."""
    name_schedules_by_group()
    _check_schedules()
    scheduler._SCHEDULE_TICK_INTERVAL = TICK_SECONDS
    before_targets(_may_deliver)


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


def _check_schedules() -> None:
    """Check a schedule's role before the schedule is created or changed."""
    handle = app.SERVICE_HANDLERS["scheduler"]

    async def handler(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Response:
        if method in ("POST", "PUT") and path.startswith("/schedules/"):
            if refused := _check_schedule(headers, query, json.loads(body or b"{}")):
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


def _check_schedule(
    headers: dict[str, str], query: dict[str, list[str]], body: Json
) -> tuple[int, str, str] | None:
    """Require iam:PassRole on the schedule's role, and the role's trust in the scheduler."""
    role = body.get("Target", {}).get("RoleArn", "")
    if not role:
        return None
    try:
        authorize_request(headers, query, "iam:PassRole", role, {"iam:PassedToService": SCHEDULER})
    except Denied as denied:
        return 403, "AccessDeniedException", denied.message
    if not role_trusts(role, SCHEDULER):
        message = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
        return 400, "ValidationException", message
    return None


def before_targets(check: Callable[[Json, Json], bool]) -> None:
    """Call `check` with target and rule (or schedule) before an event is delivered; False drops it."""
    invoke = eventbridge._invoke_target

    def invoke_target(target: Json, event: Json, rule: Json, view: Any = None) -> None:
        if check(target, rule):
            invoke(target, event, rule, view)

    eventbridge._invoke_target = invoke_target


def _may_deliver(target: Json, rule: Json) -> bool:
    """Tell whether AWS would deliver an event; log a refusal, about which AWS is silent."""
    arn, source = str(target.get("Arn", "")), str(rule.get("Arn", ""))
    service = arn.split(":")[2] if arn.count(":") > 2 else ""
    try:
        if ":schedule/" in source:
            action = _SCHEDULED_ACTIONS.get(service)
            if action:
                authorize_role(str(target.get("RoleArn", "")), "scheduler", action, arn)
        elif service == "lambda" and not _service_may_invoke(arn, EVENTS, source):
            raise Denied(f"{EVENTS} is not authorized to perform: lambda:InvokeFunction on resource: {arn}")
    except Denied as denied:
        logger.warning("%s does not reach its target: %s", source, denied.message)
        return False
    return True


def _service_may_invoke(function_arn: str, service: str, source_arn: str) -> bool:
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


def put_event(source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
    """Put an event of an AWS service on the default bus, as rules see it."""
    entry = {
        "Source": source,
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "Resources": resources,
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
