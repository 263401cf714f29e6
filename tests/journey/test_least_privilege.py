"""Each permission is needed, and enforced: taken away, the run fails with an error that names the action."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.journey.conftest import SAMPLE_STORIES, Deployed

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

# (part of the role's name, the action taken away)
NEEDED = [
    ("BeginRole", "s3:ListBucketVersions"),
    ("ReadStoriesRole", "s3:GetObjectVersion"),
    ("AssembleRole", "s3:PutObject"),
    ("PipelineRole", "sagemaker:CreateTrainingJob"),
    ("PipelineRole", "iam:PassRole"),
    ("JobRole", "s3:GetObject"),
]


@pytest.fixture(scope="module")
def stories_again(deployed: Deployed, first_run: dict[str, Any]) -> None:
    """The stories are in the bucket, and no run is on: the one they start fails in its first state."""
    deployed.empty_bucket()
    with _without(deployed, "BeginRole", "s3:ListBucketVersions"):
        texts = {f"again/{path.name}": path.read_bytes() for path in SAMPLE_STORIES.iterdir()}
        assert deployed.drop_and_finish(texts)["status"] == "failed"


@pytest.mark.parametrize(("role_part", "action"), NEEDED, ids=[f"{role}-{action}" for role, action in NEEDED])
def test_a_run_without_the_permission_fails_and_names_it(
    deployed: Deployed, stories_again: None, role_part: str, action: str
) -> None:
    with _without(deployed, role_part, action):
        run = deployed.finished_run(deployed.start_run())
    assert run["status"] == "failed"
    assert action in json.dumps(run["failure"]), run["failure"]
    assert run["message"]


@contextmanager
def _without(deployed: Deployed, role_part: str, action: str) -> Iterator[None]:
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
