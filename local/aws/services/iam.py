"""IAM and STS: permissions of callers and of roles, the policy simulator, and credentials.

MiniStack authorizes the requests that it gets; services that act with a role, or that MiniStack does not
have, authorize here with its evaluator.
"""

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ministack.core import iam_actions, iam_evaluator, lambda_runtime, router
from ministack.services import iam, lambda_svc
from ministack.services import sts as sts_service

from local.aws.cloud_environment import ACCOUNT, REGION

SESSION_SECONDS = 12 * 3600
Parameters = dict[str, Any]


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


def install() -> None:
    """Change IAM and the functions' credentials in this process's MiniStack."""
    cache_policies()
    simulate_strictly()
    lambda_runtime.execution_credentials = _execution_credentials
    lambda_svc.execution_credentials = _execution_credentials


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
    limits = iam_evaluator._permissions_boundary(iam._roles, name, ACCOUNT)
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
    role = iam._roles.get(role_arn.rsplit("/", 1)[-1])
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


def _execution_credentials(configuration: dict[str, Any]) -> dict[str, str]:
    """Return the same for each call of one function and role: it may run in several processes."""
    function, role = configuration["FunctionArn"], configuration.get("Role", "")
    key = f"ASIA{_digest('key', function, role)[:16].upper()}"
    secret, token = _digest("secret", function, role), _digest("token", function, role)
    name, session = role.rsplit("/", 1)[-1], configuration.get("FunctionName", "")[:64]
    sts_service.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}",
            "UserId": f"{name}:{session}",
            "SecretAccessKey": secret,
            "SessionToken": token,
        },
    )
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}


def _digest(*parts: str) -> str:
    salt = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    return hmac.new(salt, ":".join(parts).encode(), hashlib.sha256).hexdigest()


def cache_policies() -> None:
    """Cache parsed policies by their text: MiniStack parses every policy of a role twice for each call."""
    read = iam_evaluator.parse_policy_document
    kept = lru_cache(maxsize=1024)(read)

    def parse(document: Any) -> list[Any]:
        return list(kept(document)) if isinstance(document, str) else read(document)

    iam_evaluator.parse_policy_document = parse


def simulate_strictly() -> None:
    """Simulate for users and roles only, for each resource that is named, as AWS does.

    MiniStack denies everything to unknown principals, and looks at the first resource only.
    """
    iam._IAM_HANDLERS["SimulatePrincipalPolicy"] = _simulate


def _simulate(parameters: Parameters) -> Any:
    source = str(iam._p(parameters, "PolicySourceArn"))
    resource = source.rpartition(":")[2]
    kind, name = resource.partition("/")[0], resource.rpartition("/")[2]
    known = {"user": iam._users, "role": iam._roles}
    if source.split(":")[2:3] != ["iam"] or kind not in known:
        message = f"Invalid Entity Arn: {source} does not clearly define entity type and name."
        return iam._error(400, "InvalidInput", message, ns="iam")
    if name not in known[kind]:
        return iam._error(404, "NoSuchEntity", f"The {kind} with name {name} cannot be found.", ns="iam")
    of_role = kind == "role"
    gather = iam_evaluator._gather_role_policies if of_role else iam_evaluator._gather_user_policies
    policies = gather(name, ACCOUNT)
    actions = list(_members(parameters, "ActionNames"))
    results = "".join(
        iam._build_simulate_results_real(actions, one, source, ACCOUNT, policies)
        for one in list(_members(parameters, "ResourceArns")) or ["*"]
    )
    body = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
    return iam._xml(
        200,
        "SimulatePrincipalPolicyResponse",
        f"<SimulatePrincipalPolicyResult>{body}</SimulatePrincipalPolicyResult>",
        ns="iam",
    )


def _members(parameters: Parameters, name: str) -> Iterator[str]:
    number = 1
    while value := iam._p(parameters, f"{name}.member.{number}"):
        yield str(value)
        number += 1
