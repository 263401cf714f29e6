"""A wildcard in a permission needs a reason, and the reason acknowledges exactly that finding."""

from pathlib import Path

import pytest
from aws_cdk import App, Stack, assertions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from cdk_nag import AwsSolutionsChecks

from stacks.permissions import UnexplainedWildcardError, allow
from stacks.references import publish, published


@pytest.fixture
def app(tmp_path: Path) -> App:
    """An app that writes nothing outside the test's folder."""
    return App(outdir=str(tmp_path))


def _role(app: App) -> tuple[Stack, iam.Role]:
    stack = Stack(app, "Some")
    return stack, iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))


def _findings(app: App) -> list[str]:
    report = AwsSolutionsChecks(app).validate_scope(app)
    return [violation.rule_name for violation in report.violations]


def test_a_wildcard_without_a_reason_is_refused(app: App) -> None:
    _, role = _role(app)
    with pytest.raises(UnexplainedWildcardError, match="give wildcard_because"):
        allow(role, ["s3:GetObject"], ["arn:aws:s3:::bucket/*"])


def test_a_reason_without_a_wildcard_is_refused(app: App) -> None:
    _, role = _role(app)
    with pytest.raises(UnexplainedWildcardError, match="no wildcard"):
        allow(role, ["s3:GetObject"], ["arn:aws:s3:::bucket/key"], wildcard_because="just in case")


def test_actions_are_named_one_by_one(app: App) -> None:
    _, role = _role(app)
    with pytest.raises(UnexplainedWildcardError, match="one by one"):
        allow(role, ["s3:*"], ["arn:aws:s3:::bucket/key"], wildcard_because="lazy")


def test_a_reason_acknowledges_only_its_own_finding(app: App) -> None:
    stack, role = _role(app)
    bucket = s3.Bucket.from_bucket_name(stack, "Bucket", "bucket")
    named = iam.Role(stack, "Named", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    allow(
        role, ["s3:GetObject"], [bucket.arn_for_objects("a/*"), named.role_arn + "/*"], wildcard_because="so"
    )
    assert _findings(app) == []
    role.add_to_policy(iam.PolicyStatement(actions=["s3:PutObject"], resources=["*"]))
    assert _findings(app) == ["AwsSolutions-IAM5[Resource::*]"]


def test_a_wildcard_below_another_stacks_output_is_acknowledged_too(app: App) -> None:
    producer = Stack(app, "Producer")
    publish(producer, "BucketName", "some-bucket", "a bucket")
    stack, role = _role(app)
    name = published(producer, stack, "BucketName")
    allow(role, ["s3:GetObject"], [f"arn:aws:s3:::{name}/*"], wildcard_because="so")
    assert _findings(app) == []
    assert producer in stack.dependencies
    output = {"Fn::GetStackOutput": {"StackName": "Producer", "OutputName": "BucketName"}}
    resource = {"Fn::Join": ["", ["arn:aws:s3:::", output, "/*"]]}
    statement = {"Action": "s3:GetObject", "Effect": "Allow", "Resource": resource}
    assertions.Template.from_stack(stack).has_resource_properties(
        "AWS::IAM::Policy", {"PolicyDocument": {"Statement": [statement]}}
    )
