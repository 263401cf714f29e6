"""What others have written to judge templates, policies and state machines, on all that the app can be.

cfn-lint holds the templates against CloudFormation's schemas, policy_sentry the statements against AWS's
service authorization reference, asl-validator the state machine against Amazon States Language's schema.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from policy_sentry.querying.actions import get_action_data

from tests.templates.conftest import Resource, Synthesized, definition, statements, synthesize

_CHECKOUT = Path(__file__).resolve().parents[2]
_REGIONS = ["us-east-1", "eu-west-1"]
_LINT_EXCEPTIONS = {
    "W3005": "the CDK writes a function's role among its dependencies, beside the reference to it",
}
_ACTIONS_WITHOUT_RESOURCE = {
    "states:SendTaskSuccess": "Step Functions checks the state machine of the token's task all the same, and "
    "the CDK's grant_task_response names it too",
}
"""Actions that name a resource although the reference has none for them."""
_POLICIES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")


@pytest.fixture(scope="session")
def everything(built_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """The app with all that can be switched on, on AWS."""
    return synthesize(
        built_page,
        tmp_path_factory.mktemp("assembly"),
        tune="true",
        ask_before_training="true",
        approval="manual",
        instance_count="2",
        hosting_max_instances="3",
        huggingface_token_secret="storyloom/huggingface",
        function_python="3.12",
    )


@pytest.fixture(scope="session", params=["synthesized", "other", "everything"])
def app(request: pytest.FixtureRequest) -> Synthesized:
    """The app in each of its forms."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_cloudformation_takes_every_template(app: Synthesized) -> None:
    config = ManualArgs(regions=_REGIONS)
    found = [
        f"{stack}: {match.rule.id} {'/'.join(str(part) for part in match.path or [])}: {match.message}"
        for stack, template in app.templates.items()
        for match in lint(json.dumps(template.to_json()), config=config)
        if match.rule.id not in _LINT_EXCEPTIONS
    ]
    assert not found


def _pairs(app: Synthesized) -> Iterator[tuple[str, str]]:
    """Every action with every resource of its statement."""
    for type_ in (*_POLICIES, "AWS::IAM::Role"):
        for _, resource in app.resources(type_):
            for statement in _statements(resource):
                for action in statement["Action"]:
                    for named in statement["Resource"]:
                        yield action, named


def _statements(resource: Resource) -> Iterator[dict[str, Any]]:
    if "PolicyDocument" in resource["Properties"]:
        yield from statements(resource)
    for inline in resource["Properties"].get("Policies", []):
        yield from statements({"Properties": inline})


def _formats(action: str) -> list[str]:
    """The ARNs that an action can be allowed on, as the reference writes them; none for an unknown action."""
    service, name = action.split(":")
    return [entry["resource_arn_format"] for entry in get_action_data(service, name).get(service, [])]


def _written_like(arn: str, form: str) -> bool:
    """Whether an ARN is one of those that `arn:${Partition}:s3:::${BucketName}` describes."""
    if form == "*" or arn == "*":
        return form == arn
    wanted = form.split(":", 5)
    # What CloudFormation fills in is a whole ARN, or a part of one without a colon.
    parts = re.sub(r"<AWS::(\w+)>", r"<\1>", arn).split(":", 5)
    if len(parts) < 6:
        return bool(re.fullmatch(r"<\w+\.Arn>(/\*)?|<\w+>(/\*)?", arn))
    if parts[2] != wanted[2]:
        return False
    relative = re.sub(r"\\\$\\\{\w+\\\}", ".+", re.escape(wanted[5]))
    return bool(re.fullmatch(relative, parts[5]))


def test_every_action_exists_and_can_be_allowed_on_its_resource(app: Synthesized) -> None:
    pairs = sorted(set(_pairs(app)))
    assert len(pairs) > 150
    wrong = [
        (action, arn)
        for action, arn in pairs
        if action not in _ACTIONS_WITHOUT_RESOURCE
        and not any(_written_like(arn, form) for form in _formats(action))
    ]
    assert not wrong


def test_an_exception_is_still_needed(everything: Synthesized) -> None:
    used = {action for action, _ in _pairs(everything)}
    for action in _ACTIONS_WITHOUT_RESOURCE:
        assert action in used
        assert _formats(action) == ["*"]


def test_the_state_machine_is_amazon_states_language(app: Synthesized, tmp_path: Path) -> None:
    written = json.dumps(definition(app))
    arns = re.sub(r"<(\w+)\.Arn>", r"arn:aws:lambda:us-east-1:123456789012:function:\1", written)
    file = tmp_path / "definition.json"
    file.write_text(arns.replace("<AWS::Partition>", "aws"))
    validator = _CHECKOUT / "node_modules" / ".bin" / "asl-validator"
    judged = subprocess.run(
        [validator, "--json-path", file], capture_output=True, text=True, timeout=120, check=False
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_a_state_that_leads_nowhere_is_found(app: Synthesized, tmp_path: Path) -> None:
    """The judge is awake."""
    broken = definition(app)
    broken["States"]["Gate"]["Next"] = "Nowhere"
    file = tmp_path / "definition.json"
    file.write_text(json.dumps(broken))
    validator = _CHECKOUT / "node_modules" / ".bin" / "asl-validator"
    judged = subprocess.run([validator, "--json-path", file], capture_output=True, timeout=120, check=False)
    assert judged.returncode != 0
