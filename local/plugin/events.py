"""EventBridge and its Scheduler as on AWS: they act under a role or a function's permission, in order.

A rule calls a function only if the function's own policy allows it; a schedule calls its target
with its role, which the caller who creates the schedule must be allowed to pass. Events for functions go
through Lambda's queue for asynchronous calls (`async_calls`).
"""

import logging

from local.plugin import ministack_events
from local.plugin.async_calls import AsyncQueues
from local.plugin.ministack_adapter import Denied, authorize_request, authorize_role, role_trusts
from local.plugin.ministack_events import Json

SCHEDULER = "scheduler.amazonaws.com"
EVENTS = "events.amazonaws.com"
TICK_SECONDS = 1.0

logger = logging.getLogger("storyloom.events")


def install() -> None:
    """Change the EventBridge and the Scheduler of this process's MiniStack."""
    ministack_events.name_schedules_by_group()
    ministack_events.before_saving_schedules(_check_schedule)
    ministack_events.tick_schedules_every(TICK_SECONDS)
    ministack_events.before_targets(_may_deliver)
    ministack_events.queue_functions(AsyncQueues().put)


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


_SCHEDULED_ACTIONS = {
    "lambda": "lambda:InvokeFunction",
    "states": "states:StartExecution",
    "sns": "sns:Publish",
    "sqs": "sqs:SendMessage",
}


def _may_deliver(target: Json, rule: Json) -> bool:
    """Tell whether AWS would deliver an event; log a refusal, about which AWS is silent."""
    arn, source = str(target.get("Arn", "")), str(rule.get("Arn", ""))
    service = arn.split(":")[2] if arn.count(":") > 2 else ""
    try:
        if ":schedule/" in source:
            action = _SCHEDULED_ACTIONS.get(service)
            if action:
                authorize_role(str(target.get("RoleArn", "")), "scheduler", action, arn)
        elif service == "lambda" and not ministack_events.service_may_invoke(arn, EVENTS, source):
            raise Denied(f"{EVENTS} is not authorized to perform: lambda:InvokeFunction on resource: {arn}")
    except Denied as denied:
        logger.warning("%s does not reach its target: %s", source, denied.message)
        return False
    return True
