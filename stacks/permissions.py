"""IAM permissions, which need a reason for every wildcard.

The reason acknowledges exactly that finding of cdk-nag on exactly that role. Statements for S3 also require
that the bucket belongs to this account: an ARN of S3 has no account, and anybody can take the name of a
deleted bucket.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Acknowledgment, Aws, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct


class UnexplainedWildcardError(ValueError):
    """A permission has a wildcard without a reason, or a reason without a wildcard."""


def allow(
    role: iam.Role,
    actions: Sequence[str],
    resources: Sequence[str],
    *,
    wildcard_because: str = "",
    conditions: Mapping[str, Any] | None = None,
) -> None:
    """Allow a role some actions on some resources.

    Args:
        role: gets the permission.
        actions: one by one, such as `s3:GetObject`; wildcards are never allowed.
        resources: their ARNs.
        wildcard_because: why a resource has a `*`; required if one has, refused if none has.
        conditions: IAM conditions.

    Raises:
        UnexplainedWildcardError: a wildcard has no reason, or the reason has no wildcard.
    """
    if any("*" in action for action in actions):
        raise UnexplainedWildcardError(f"{role.node.path}: name the actions of {list(actions)} one by one.")
    findings = [_flat(Stack.of(role).resolve(resource)) for resource in resources]
    wildcards = [finding for finding in findings if "*" in finding]
    if bool(wildcards) != bool(wildcard_because):
        fault = "give wildcard_because for" if wildcards else "no wildcard to explain in"
        raise UnexplainedWildcardError(f"{role.node.path}: {fault} {list(actions)}.")
    if any(action.startswith("s3:") for action in actions):
        conditions = _and_in_this_account(conditions or {})
    role.add_to_policy(
        iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)
    )
    for finding in dict.fromkeys(wildcards):
        acknowledge(role, f"AwsSolutions-IAM5[Resource::{finding}]", wildcard_because)


def _and_in_this_account(conditions: Mapping[str, Any]) -> dict[str, Any]:
    equals = {**conditions.get("StringEquals", {}), "aws:ResourceAccount": Aws.ACCOUNT_ID}
    return {**conditions, "StringEquals": equals}


def service_principal(service: str) -> iam.ServicePrincipal:
    """Return the principal of an AWS service, such as `lambda.amazonaws.com`, for this account only.

    A role or topic that trusts only the service trusts it on behalf of every account.
    """
    return iam.ServicePrincipal(service, conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}})


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Acknowledge one finding of cdk-nag on one construct."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


def acknowledge_generated_policy(role: iam.IRole, because: str) -> None:
    """Acknowledge each wildcard of a policy that the CDK itself wrote, on exactly that role."""
    policy = role.node.find_child("DefaultPolicy")
    assert isinstance(policy, iam.Policy)  # noqa: S101 - for the type checker
    document = Stack.of(role).resolve(policy.document)
    for statement in document["Statement"]:
        for kind in ("Action", "Resource"):
            values = statement[kind] if isinstance(statement[kind], list) else [statement[kind]]
            for finding in map(_flat, values):
                if "*" in finding:
                    acknowledge(role, f"AwsSolutions-IAM5[{kind}::{finding}]", because)


def grant_pass_role(role: iam.Role, passed: str, service: str) -> None:
    """Allow a role to pass another role, given by its ARN, to one service."""
    allow(role, ["iam:PassRole"], [passed], conditions={"StringEquals": {"iam:PassedToService": service}})


def arn(service: str, resource: str) -> str:
    """Return an ARN in this account and region, such as `arn("sagemaker", "endpoint/storyloom")`."""
    return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resource}"


def _flat(node: Any) -> str:
    """Write a resolved value as cdk-nag writes it in the name of a finding."""
    match node:
        case str():
            return node.replace("${", "<").replace("}", ">")
        case {"Fn::Join": [delimiter, items]}:
            return str(delimiter).join(_flat(item) for item in items)
        case {"Fn::Sub": template}:
            return _flat(template)
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{_flat(resource)}.{_flat(attribute)}>"
        case {"Ref": resource}:
            return f"<{_flat(resource)}>"
        case _:
            return json.dumps(node, separators=(",", ":"))
