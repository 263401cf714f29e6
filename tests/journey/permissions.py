"""Taking a deployed permission away for a while."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.journey.deployed_app import Deployed


@contextmanager
def without(deployed: Deployed, role_part: str, action: str) -> Iterator[None]:
    """Takes one action out of a deployed role's synthesized policy, and puts the policy back."""
    iam = deployed.client("iam")
    name, policy_name, document = _policy_with(iam, role_part, action)
    try:
        iam.put_role_policy(
            RoleName=name, PolicyName=policy_name, PolicyDocument=json.dumps(_less(document, action))
        )
        yield
    finally:
        iam.put_role_policy(RoleName=name, PolicyName=policy_name, PolicyDocument=json.dumps(document))


def _policy_with(iam: Any, role_part: str, action: str) -> tuple[str, str, dict[str, Any]]:
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            if role_part.lower() not in role["RoleName"].lower():
                continue
            for policy_name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
                document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy_name)[
                    "PolicyDocument"
                ]
                if any(action in _actions(statement) for statement in document["Statement"]):
                    return role["RoleName"], policy_name, document
    raise AssertionError(f"no role with {role_part} in its name may {action}")


def _actions(statement: dict[str, Any]) -> list[str]:
    action = statement["Action"]
    return [action] if isinstance(action, str) else list(action)


def _less(document: dict[str, Any], action: str) -> dict[str, Any]:
    reduced = copy.deepcopy(document)
    for statement in reduced["Statement"]:
        statement["Action"] = [kept for kept in _actions(statement) if kept != action]
    reduced["Statement"] = [statement for statement in reduced["Statement"] if statement["Action"]]
    return reduced
