"""What others have written to judge templates, policies and state machines, on all that the app can be.

cfn-lint holds the templates against CloudFormation's schemas, policy_sentry the statements against AWS's
service authorization reference, asl-validator the state machine against Amazon States Language's schema.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from policy_sentry.querying.actions import get_action_data

from tests.templates.conftest import Synthesized, definition, statements

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


def _statements(app: Synthesized) -> Iterator[dict[str, Any]]:
    """Every statement of every policy that is a role's."""
    for type_ in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::Role"):
        for _, resource in app.resources(type_):
            if "PolicyDocument" in resource["Properties"]:
                yield from statements(resource)
            for inline in resource["Properties"].get("Policies", []):
                yield from statements({"Properties": inline})


def _formats(action: str) -> list[str]:
    """The ARNs that an action can be allowed on, as the reference writes them; none for an unknown action."""
    service, name = action.split(":")
    return [entry["resource_arn_format"] for entry in get_action_data(service, name).get(service, [])]


def _can_name(arn: str, form: str) -> bool:
    """Whether an ARN, with its wildcards, can be one that `arn:${Partition}:s3:::${BucketName}` describes."""
    if "*" in (arn, form):
        return arn == "*"
    if form.endswith("${BucketName}") and "/" in arn:
        return False
    # What CloudFormation fills in is a part of an ARN, or all of one.
    given = re.sub(r"<[^>]+>", "*", arn.replace("<AWS::Partition>", "aws")).split(":", 5)
    wanted = re.sub(r"\$\{\w+\}", "*", form.replace("${Partition}", "aws")).split(":", 5)
    if len(given) < len(wanted):
        return _overlap(":".join(given), ":".join(wanted))
    return all(_overlap(one, other) for one, other in zip(given, wanted, strict=True))


@cache
def _overlap(one: str, other: str) -> bool:
    """Whether there is a text that both patterns match."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _overlap(one[1:], other) or _overlap(one, other[1:])
    if other[0] == "*":
        return _overlap(other, one)
    return (one[0] == other[0] or "?" in (one[0], other[0])) and _overlap(one[1:], other[1:])


def test_every_action_exists_and_can_be_allowed_on_its_resource(app: Synthesized) -> None:
    wrong = []
    for statement in _statements(app):
        actions, arns = statement["Action"], statement["Resource"]
        possible = {
            (action, arn)
            for action in actions
            for arn in arns
            if action in _ACTIONS_WITHOUT_RESOURCE or any(_can_name(arn, form) for form in _formats(action))
        }
        wrong += [(action, arns) for action in actions if action not in {action for action, _ in possible}]
        wrong += [(arn, actions) for arn in arns if arn not in {arn for _, arn in possible}]
    assert not wrong, "\n".join(f"{part}: fits none of {others}" for part, others in wrong)


@pytest.mark.parametrize(
    ("action", "arn", "fits"),
    [
        ("s3:GetObject", "arn:<AWS::Partition>:s3:::<Stories>/*", True),
        ("s3:GetObject", "arn:<AWS::Partition>:s3:::stories", False),
        ("s3:ListBucket", "arn:aws:s3:::stories/*", False),
        ("lambda:InvokeFunction", "<EndpointManager.Arn>", True),
        ("sagemaker:CreateModel", "arn:aws:sagemaker:eu-west-1:1:endpoint/a", False),
        ("logs:PutLogEvents", "arn:aws:logs:eu-west-1:1:log-group:/a:*", True),
        ("s3:GetObjects", "*", False),
    ],
)
def test_a_pair_of_action_and_resource_is_judged(action: str, arn: str, fits: bool) -> None:
    assert any(_can_name(arn, form) for form in _formats(action)) is fits


def test_an_exception_is_still_needed(everything: Synthesized) -> None:
    used = {action for statement in _statements(everything) for action in statement["Action"]}
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
    """The validator finds a mistake that is made on purpose."""
    broken = definition(app)
    broken["States"]["Gate"]["Next"] = "Nowhere"
    file = tmp_path / "definition.json"
    file.write_text(json.dumps(broken))
    validator = _CHECKOUT / "node_modules" / ".bin" / "asl-validator"
    judged = subprocess.run([validator, "--json-path", file], capture_output=True, timeout=120, check=False)
    assert judged.returncode != 0
