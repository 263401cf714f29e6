"""Two regions of an account, and two apps in one region, make nothing of the same name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.templates.conftest import Synthesized, flat, synthesize

_ACCOUNT = "123456789012"
_LONGEST_NAME = "stories-of-the-north"
_LONGEST_REGION = "ap-southeast-3"


@dataclass(frozen=True)
class _Naming:
    """How a type of resource is named in a template."""

    keys: tuple[str, ...]
    """Where the name is below `Properties`."""
    longest: int
    everywhere: bool = False
    """Whether a name is unique in the account, not only in its region."""


_NAMED = {
    "AWS::Budgets::Budget": _Naming(("Budget", "BudgetName"), 100, everywhere=True),
    "AWS::CloudFront::Function": _Naming(("Name",), 64, everywhere=True),
    "AWS::CloudFront::OriginAccessControl": _Naming(
        ("OriginAccessControlConfig", "Name"), 64, everywhere=True
    ),
    "AWS::CloudFront::ResponseHeadersPolicy": _Naming(
        ("ResponseHeadersPolicyConfig", "Name"), 128, everywhere=True
    ),
    "AWS::CloudWatch::Alarm": _Naming(("AlarmName",), 255),
    "AWS::CloudWatch::Dashboard": _Naming(("DashboardName",), 255, everywhere=True),
    "AWS::DynamoDB::Table": _Naming(("TableName",), 255),
    "AWS::Events::Rule": _Naming(("Name",), 64),
    "AWS::IAM::ManagedPolicy": _Naming(("ManagedPolicyName",), 128, everywhere=True),
    "AWS::IAM::Role": _Naming(("RoleName",), 64, everywhere=True),
    "AWS::Lambda::Function": _Naming(("FunctionName",), 64),
    "AWS::Logs::LogGroup": _Naming(("LogGroupName",), 512),
    "AWS::Logs::MetricFilter": _Naming(("FilterName",), 512),
    "AWS::S3::Bucket": _Naming(("BucketName",), 63, everywhere=True),
    "AWS::SNS::Topic": _Naming(("TopicName",), 256),
    "AWS::SQS::Queue": _Naming(("QueueName",), 80),
    "AWS::SSM::Parameter": _Naming(("Name",), 1011),
    "AWS::SageMaker::ModelPackageGroup": _Naming(("ModelPackageGroupName",), 63),
    "AWS::Scheduler::ScheduleGroup": _Naming(("Name",), 64),
    "AWS::StepFunctions::StateMachine": _Naming(("StateMachineName",), 80),
}
_UNNAMED = {
    *(f"AWS::ApiGateway::{kind}" for kind in ("Account", "Authorizer", "Deployment", "GatewayResponse")),
    *(f"AWS::ApiGateway::{kind}" for kind in ("Method", "Resource", "RestApi", "Stage")),
    *("AWS::CloudFront::Distribution", "AWS::CloudFormation::CustomResource"),
    *("Custom::CDKBucketDeployment", "Custom::MadeAtRunTime", "Custom::PricesAtDeployment"),
    *(f"AWS::Cognito::{kind}" for kind in ("UserPool", "UserPoolClient", "UserPoolUser")),
    *(f"AWS::Cognito::{kind}" for kind in ("UserPoolGroup", "UserPoolUserToGroupAttachment")),
    *("AWS::IAM::Policy", "AWS::Lambda::Permission", "AWS::Lambda::LayerVersion"),
    *("AWS::S3::BucketPolicy", "AWS::SNS::Subscription", "AWS::SNS::TopicPolicy"),
}
"""Whose names, if they have any, count only within what they belong to."""


def _names(app: Synthesized, region: str) -> Iterator[tuple[str, _Naming, str]]:
    """Type, naming and name of each resource that the template names."""
    for template in app.templates.values():
        for resource in template.to_json()["Resources"].values():
            if resource["Type"] in _UNNAMED:
                continue
            naming = _NAMED.get(resource["Type"])
            assert naming, f"Is a name of {resource['Type']} unique, and where?"
            name: Any = resource.get("Properties", {})
            for key in naming.keys:
                name = name.get(key) if isinstance(name, Mapping) else None
            if name is not None:
                resolved = flat(name).replace("<AWS::Region>", region).replace("<AWS::AccountId>", _ACCOUNT)
                # A name with a number that AWS gives another resource is unique as that is.
                if "<" not in resolved:
                    yield resource["Type"], naming, resolved


@pytest.fixture(scope="session")
def second(built_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """A second app for the same account, in the region of the first and with the longest name."""
    return synthesize(built_page, tmp_path_factory.mktemp("assembly"), name=_LONGEST_NAME, tune="true")


@pytest.mark.aws_fact
def test_two_regions_of_an_account_share_no_name_that_counts_everywhere(synthesized: Synthesized) -> None:
    virginia, ireland = (
        {(type_, name) for type_, naming, name in _names(synthesized, region) if naming.everywhere}
        for region in ("us-east-1", "eu-west-1")
    )
    assert len(virginia) >= 2, "CloudFront's policies have names"
    assert not virginia & ireland


def test_two_apps_in_one_region_share_no_name(synthesized: Synthesized, second: Synthesized) -> None:
    one, other = (
        {(type_, name) for type_, _, name in _names(app, "us-east-1")} for app in (synthesized, second)
    )
    assert len(one) == len(other) > 5
    assert not one & other
    stacks = [{stack.stack_name for stack in vars(app.stacks).values()} for app in (synthesized, second)]
    assert not stacks[0] & stacks[1]


def test_one_app_uses_no_name_twice(synthesized: Synthesized) -> None:
    names = [(type_, name) for type_, _, name in _names(synthesized, "us-east-1")]
    assert len(names) == len(set(names))


def test_the_longest_names_are_short_enough(second: Synthesized) -> None:
    for type_, naming, name in _names(second, _LONGEST_REGION):
        assert len(name) <= naming.longest, (type_, name)


def test_what_one_stack_reads_of_another_is_of_its_own_app_and_region(second: Synthesized) -> None:
    own = {stack.stack_name for stack in vars(second.stacks).values()}
    read = [found for template in second.templates.values() for found in _stack_outputs(template.to_json())]
    assert read
    for found in read:
        assert found["StackName"] in own
        assert set(found) == {"StackName", "OutputName"}, "another region or account would stand here"


def _stack_outputs(value: Any) -> Iterator[dict[str, str]]:
    if isinstance(value, Mapping):
        if "Fn::GetStackOutput" in value:
            yield value["Fn::GetStackOutput"]
        for part in value.values():
            yield from _stack_outputs(part)
    elif isinstance(value, list):
        for part in value:
            yield from _stack_outputs(part)
