"""The one file that touches MiniStack's internals: an upgrade of MiniStack is checked here.

Everything else of the plug-in speaks to these functions. MiniStack has no types; they end here.
"""

import hashlib
import io
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from botocore.parsers import BaseCBORParser
from ministack import app
from ministack.core import iam_actions, iam_evaluator, responses, router
from ministack.services import eventbridge as eventbridge_service
from ministack.services import iam as iam_service
from ministack.services import sts as sts_service

from local.environment import ACCOUNT, REGION

Response = tuple[int, dict[str, str], Any]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, list[str]]], Awaitable[Response]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True)
class Denied(Exception):  # noqa: N818 (what IAM calls it)
    """IAM denies a call; `message` names principal, action and resource in AWS's words."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Credentials:
    """Temporary credentials of a role."""

    access_key: str
    secret_key: str
    token: str

    def environment(self) -> dict[str, str]:
        """Return them as the variables that every SDK reads."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.token,
        }


# Services ---------------------------------------------------------------------------------------


def register_service(name: str, handler: Handler, target_prefixes: list[str]) -> None:
    """Answer requests signed for `name`, or whose ``X-Amz-Target`` starts with one of the prefixes.

    MiniStack checks the signature; which action a request needs is the handler's to check.
    """
    app.SERVICE_HANDLERS[name] = handler
    router.SERVICE_PATTERNS[name] = {"target_prefixes": target_prefixes}


@dataclass(frozen=True)
class HttpRequest:
    """A request as MiniStack hands it to a service, signed and authorized."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, list[str]]


def before_requests(service: str, check: Callable[[HttpRequest], Response | None]) -> None:
    """Ask `check` about each request to a service: what it answers is sent, None lets MiniStack answer."""
    handle = app.SERVICE_HANDLERS[service]

    async def handler(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Response:
        refused = check(HttpRequest(method, path, headers, body, query))
        if refused is not None:
            return refused
        answer: Response = await handle(method, path, headers, body, query)
        return answer

    app.SERVICE_HANDLERS[service] = handler


def streaming_body(runner: Callable[[Send, Receive], Awaitable[None]]) -> Any:
    """Return a response body that `runner` sends piece by piece (ASGI ``http.response.body`` messages)."""
    return responses.StreamingResponse(runner)


# IAM --------------------------------------------------------------------------------------------


def authorize_request(
    headers: dict[str, str],
    query: dict[str, list[str]],
    action: str,
    resource: str,
    context: dict[str, Any] | None = None,
) -> None:
    """Raise `Denied` unless the caller who signed the request may do `action` on `resource`."""
    service = action.partition(":")[0]
    key = router.extract_access_key_id(headers, query)
    refused = iam_evaluator.enforce(
        key, action, service, REGION, resource_arn=resource, service_context=context or {}
    )
    if refused is None:
        return
    if isinstance(refused, iam_evaluator.AuthError):
        raise Denied(refused.message)
    raise Denied(_denial(action, refused.principal_arn, resource, refused.decision))


def caller_arn(headers: dict[str, str], query: dict[str, list[str]]) -> str:
    """Return the ARN of the caller who signed this request."""
    return str(sts_service._caller_identity(headers, query)["userArn"])


def authorize_role(
    role_arn: str, session: str, action: str, resource: str, context: dict[str, Any] | None = None
) -> None:
    """Raise `Denied` unless the role may do `action` on `resource` (a service acting with its role)."""
    request = _role_request(role_arn, session, action, resource, context or {})
    policies, limits = _role_policies(role_arn)
    result = iam_evaluator.evaluate(request, policies, *limits)
    service = action.partition(":")[0]
    own_policy = iam_evaluator._resource_policy(service, resource)
    if own_policy is not None:
        result = iam_evaluator.combine_resource_policy(
            result, request, *own_policy, required=service == "kms", limits=limits
        )
    if result.decision != "Allow":
        raise Denied(_denial(action, request.principal_arn, resource, result.decision))


def authorize_role_somewhere(role_arn: str, session: str, action: str) -> None:
    """Raise `Denied` unless some statement allows the role `action`, on whatever resource.

    For calls whose resource MiniStack cannot name: a role scoped to one must not be refused.
    """
    policies, _ = _role_policies(role_arn)
    for statement in (statement for policy in policies for statement in policy):
        matches = iam_evaluator._action_matches(action, statement.actions, statement.not_actions)
        if statement.effect == "Allow" and matches:
            return
    principal = _role_request(role_arn, session, action, "*", {}).principal_arn
    raise Denied(_denial(action, principal, "*", "ImplicitDeny"))


def _role_policies(role_arn: str) -> tuple[Any, Any]:
    name = role_arn.rsplit("/", 1)[-1]
    limits = iam_evaluator._permissions_boundary(iam_service._roles, name, ACCOUNT)
    return iam_evaluator._gather_role_policies(name, ACCOUNT), limits


def _role_request(role_arn: str, session: str, action: str, resource: str, context: dict[str, Any]) -> Any:
    name = role_arn.rsplit("/", 1)[-1]
    return iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=action,
        resource_arn=resource,
        region=REGION,
        service_context={key.lower(): value for key, value in context.items()},
    )


def _denial(action: str, principal: str, resource: str, decision: str) -> str:
    return str(iam_actions.identity_denial_message(action, principal, resource, decision == "Deny"))


def role_trusts(role_arn: str, service: str) -> bool:
    """Tell whether a role exists and lets `service` (``sagemaker.amazonaws.com``) assume it."""
    role = iam_service._roles.get(role_arn.rsplit("/", 1)[-1])
    if role is None or role.get("Arn") != role_arn:
        return False
    document = role.get("AssumeRolePolicyDocument") or "{}"
    parsed = json.loads(document) if isinstance(document, str) else document
    statements = parsed.get("Statement", [])
    return any(
        _trusts(statement, service)
        for statement in (statements if isinstance(statements, list) else [statements])
    )


def _trusts(statement: dict[str, Any], service: str) -> bool:
    actions = statement.get("Action", [])
    actions = [actions] if isinstance(actions, str) else actions
    principal = statement.get("Principal", {})
    services = principal.get("Service", []) if isinstance(principal, dict) else []
    services = [services] if isinstance(services, str) else services
    may_assume = bool({"sts:AssumeRole", "sts:*", "*"} & {*actions})
    request = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=ACCOUNT,
        action="sts:AssumeRole",
        resource_arn="*",
        region=REGION,
        service_context={"aws:sourceaccount": ACCOUNT},
    )
    conditions = iam_evaluator._conditions_met(statement.get("Condition") or {}, request)
    return statement.get("Effect") == "Allow" and service in services and may_assume and bool(conditions)


def assume_role(role_arn: str, session: str) -> Credentials:
    """Return credentials of `role_arn`, as a service gets them for work on the role's behalf.

    Through STS's own table of sessions, so that every call made with them meets the role's policies.
    """
    name = role_arn.rsplit("/", 1)[-1]
    digest = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
    credentials = Credentials(f"ASIA{digest[:16].upper()}", secrets.token_hex(20), secrets.token_hex(64))
    sts_service.register_session(
        credentials.access_key,
        {
            "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session[:64]}",
            "UserId": f"{name}:{session[:64]}",
            "SecretAccessKey": credentials.secret_key,
            "SessionToken": credentials.token,
            "Expiration": time.time() + SESSION_SECONDS,
        },
    )
    return credentials


def own_endpoint() -> str:
    """Return the URL of this MiniStack."""
    return os.environ["AWS_ENDPOINT_URL"]


# EventBridge ------------------------------------------------------------------------------------


def put_event(source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
    """Put an event of an AWS service on the default bus, as rules see it."""
    entry = {
        "Source": source,
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "Resources": resources,
    }
    eventbridge_service._put_events({"Entries": [entry]}, allow_aws_source=True)


# CloudWatch -------------------------------------------------------------------------------------


def supply_metric_namespace() -> None:
    """Give IAM the condition key ``cloudwatch:namespace`` of PutMetricData, which MiniStack leaves out."""
    known = iam_actions.request_tag_context

    def context(service: str, action: str, body: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = known(service, action, body, parameters)
        if action == "cloudwatch:PutMetricData" and (namespace := _namespace(body, parameters)):
            found = {**found, "cloudwatch:namespace": namespace}
        return found

    iam_actions.request_tag_context = context


def _namespace(body: bytes, parameters: dict[str, Any]) -> str:
    """Read the request's Namespace, in any of CloudWatch's three protocols."""
    if body[:1] == b"{":
        return str(json.loads(body).get("Namespace", ""))
    if given := parameters.get("Namespace"):
        return str(given[0] if isinstance(given, list) else given)
    decoded = BaseCBORParser().parse_data_item(io.BufferedReader(io.BytesIO(body)))
    return str(decoded.get("Namespace", "")) if isinstance(decoded, dict) else ""
