"""In which order CloudFormation deletes the stacks' resources: the reverse of what depends on what."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.templates.conftest import Synthesized, flat

CLEAN_UP = "Custom::MadeAtRunTime"
_LONGEST_LAMBDA_SECONDS, _LONGEST_RESOURCE_SECONDS = 900, 3600


def _resources(synthesized: Synthesized, stack: str) -> Mapping[str, Any]:
    resources: Mapping[str, Any] = synthesized.templates[stack].to_json()["Resources"]
    return resources


def _clean_up(synthesized: Synthesized, stack: str) -> tuple[str, Mapping[str, Any]]:
    ((name, resource),) = synthesized.templates[stack].find_resources(CLEAN_UP).items()
    return name, resource


def _needs(resources: Mapping[str, Any], name: str) -> set[str]:
    """Everything that a resource depends on, also through others: it is deleted after the resource."""
    found: set[str] = set()
    pending = [name]
    while pending:
        definition = resources[pending.pop()]
        text = json.dumps(definition)
        named = set(definition.get("DependsOn", []))
        named |= set(re.findall(r'"Ref": "(\w+)"', text)) | set(re.findall(r'"Fn::GetAtt": \["(\w+)"', text))
        named |= set(re.findall(r"\$\{(\w+)[.}]", text))
        new = (named & set(resources)) - found
        found |= new
        pending += new
    return found


def _named(resources: Mapping[str, Any], beginning: str, type_: str) -> list[str]:
    found = [
        name
        for name, one in resources.items()
        if name.startswith(beginning) and one["Type"] == f"AWS::{type_}"
    ]
    assert found, f"no {type_} {beginning}"
    return found


@pytest.mark.aws_fact
def test_everything_that_could_start_something_is_deleted_before_the_clean_up(
    synthesized: Synthesized,
) -> None:
    for stack, makers in {
        "pipeline": [("", "Events::Rule")],
        "chat": [
            ("EndpointManagerFunction", "Lambda::Function"),
            ("StartBatchFunction", "Lambda::Function"),
            ("ChatApiFunction", "Lambda::Function"),
            ("EndpointManagerTick", "Events::Rule"),
            ("ApiDeploymentStage", "ApiGateway::Stage"),
        ],
    }.items():
        resources = _resources(synthesized, stack)
        clean_up, _ = _clean_up(synthesized, stack)
        for beginning, type_ in makers:
            for name in _named(resources, beginning, type_):
                assert clean_up in _needs(resources, name), f"{name} outlives the clean-up"


@pytest.mark.aws_fact
def test_the_roles_of_endpoint_and_jobs_outlive_the_clean_up(synthesized: Synthesized) -> None:
    """SageMaker needs an endpoint's role until the endpoint is gone."""
    resources = _resources(synthesized, "pipeline")
    needed = _needs(resources, _clean_up(synthesized, "pipeline")[0])
    for role in ("HostingRole", "JobRole", "TransformRole", "CleanUpRole"):
        assert set(_named(resources, role, "IAM::Role")) <= needed
        assert set(_named(resources, f"{role}DefaultPolicy", "IAM::Policy")) <= needed


@pytest.mark.aws_fact
def test_the_registry_is_emptied_before_its_group_is_deleted(synthesized: Synthesized) -> None:
    resources = _resources(synthesized, "pipeline")
    needed = _needs(resources, _clean_up(synthesized, "pipeline")[0])
    assert set(_named(resources, "ModelPackages", "SageMaker::ModelPackageGroup")) <= needed
    assert set(_named(resources, "Pipeline", "StepFunctions::StateMachine")) <= needed, (
        "runs are stopped in it"
    )


@pytest.mark.aws_fact
@pytest.mark.parametrize("stack", ["pipeline", "chat"])
def test_a_deletion_does_not_hang_for_an_hour(synthesized: Synthesized, stack: str) -> None:
    _, resource = _clean_up(synthesized, stack)
    seconds = int(resource["Properties"]["ServiceTimeout"])
    assert _LONGEST_LAMBDA_SECONDS < seconds < _LONGEST_RESOURCE_SECONDS


@pytest.mark.aws_fact
def test_api_gateways_own_log_belongs_to_the_stack(synthesized: Synthesized) -> None:
    resources = _resources(synthesized, "chat")
    (stage,) = _named(resources, "ApiDeploymentStage", "ApiGateway::Stage")
    (log,) = [
        name
        for name in _named(resources, "Api", "Logs::LogGroup")
        if "API-Gateway-Execution-Logs" in json.dumps(resources[name])
    ]
    written = flat(resources[log]["Properties"]["LogGroupName"])
    assert re.fullmatch(r"API-Gateway-Execution-Logs_<Api\w+>/prod", written)
    assert log in _needs(resources, stage), "API Gateway would make it without an end"


@pytest.mark.aws_fact
def test_the_stack_with_the_stories_is_protected_from_deletion(synthesized: Synthesized) -> None:
    protected = {name: stack.termination_protection for name, stack in vars(synthesized.stacks).items()}
    assert protected == {"storage": True, "pipeline": False, "chat": False, "operations": False}


def test_everything_made_at_run_time_is_removed(synthesized: Synthesized) -> None:
    (page,) = _named(_resources(synthesized, "chat"), "PageBucket", "S3::Bucket")
    assert _clean_up(synthesized, "chat")[1]["Properties"]["PageBucket"] == {"Ref": page}
    parts = {stack: _clean_up(synthesized, stack)[1]["Properties"]["Part"] for stack in ("pipeline", "chat")}
    assert parts == {"pipeline": "everything", "chat": "hosting"}


@pytest.mark.aws_fact
def test_a_late_failure_finds_the_clean_up_of_the_pages_files(
    synthesized: Synthesized,
) -> None:
    """The CDK's function leaves them, whenever a creation fails that has made them."""
    resources = _resources(synthesized, "chat")
    (files,) = [name for name, one in resources.items() if one["Type"] == "Custom::CDKBucketDeployment"]
    assert _clean_up(synthesized, "chat")[0] in _needs(resources, files)


@pytest.mark.aws_fact
def test_the_pages_files_come_after_what_cloudfront_may_refuse(synthesized: Synthesized) -> None:
    resources = _resources(synthesized, "chat")
    (files,) = [name for name, one in resources.items() if one["Type"] == "Custom::CDKBucketDeployment"]
    (distribution,) = _named(resources, "PageDistribution", "CloudFront::Distribution")
    assert distribution in _needs(resources, files)


@pytest.mark.aws_fact
def test_every_role_says_its_region(synthesized: Synthesized) -> None:
    """Roles belong to none, and CloudFormation does not tag them with their stack."""
    for name, role in synthesized.resources("AWS::IAM::Role"):
        assert {"Key": "storyloom:region", "Value": {"Ref": "AWS::Region"}} in role["Properties"].get(
            "Tags", []
        ), name


@pytest.mark.aws_fact
def test_the_cdks_function_leaves_the_files_of_a_bucket_that_goes_with_its_stack(
    synthesized: Synthesized, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own code, with the tags that the template gives the page's bucket, and then without them."""
    resources = _resources(synthesized, "chat")
    (files,) = [one for one in resources.values() if one["Type"] == "Custom::CDKBucketDeployment"]
    assert files["Properties"]["RetainOnDelete"] is False
    (page,) = _named(resources, "PageBucket", "S3::Bucket")
    deployer = _cdks_deployer(synthesized, monkeypatch)
    assert _commands_of_deletion(deployer, resources[page]["Properties"]["Tags"]) == []
    assert _commands_of_deletion(deployer, []) == [("s3", "rm", "s3://page/", "--recursive")]


def _cdks_deployer(synthesized: Synthesized, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the CDK's deployment function as it is deployed."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("os.putenv", lambda name, value: None)
    folder = Path(synthesized.app.outdir)
    (source,) = [path for path in folder.glob("asset.*/index.py") if "cr-owned" in path.read_text()]
    module = ModuleType("cdks_deployer")
    exec(compile(source.read_text(), source, "exec"), module.__dict__)  # noqa: S102 - the CDK's own code
    return module


def _commands_of_deletion(deployer: Any, tags: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """Have it delete its files from a bucket with these tags; returns what it has the AWS CLI do."""
    commands: list[tuple[str, ...]] = []
    answers: list[str] = []
    deployer.s3 = SimpleNamespace(get_bucket_tagging=lambda **_: {"TagSet": tags})
    deployer.aws_command = lambda *words: commands.append(words)
    deployer.cfn_send = lambda event, context, status, **_: answers.append(status)
    properties = {
        "SourceBucketNames": [],
        "SourceObjectKeys": [],
        "DestinationBucketName": "page",
        "RetainOnDelete": "false",
    }
    request = {"RequestType": "Delete", "PhysicalResourceId": "files", "ResourceProperties": properties}
    deployer.handler(request, None)
    assert answers == ["SUCCESS"]
    return commands


@pytest.mark.aws_fact
def test_the_parameter_that_allows_an_endpoint_exists_only_with_the_endpoint_manager(
    synthesized: Synthesized,
) -> None:
    """What a resource depends on is made before it and deleted after it, also in a rollback."""
    resources = _resources(synthesized, "chat")
    (parameter,) = synthesized.chat.find_resources("AWS::SSM::Parameter")
    needed = _needs(resources, parameter)
    ticks = {
        name
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Events::Rule" and "rate(" in str(resource["Properties"])
    }
    called = {
        name
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Lambda::Permission" and "events.amazonaws.com" in str(resource)
    }
    assert ticks and ticks <= needed
    assert called and called <= needed
    names = ("Preflight", "Activate", "Deploy", "SmokeTest")
    asking = [
        function["Properties"]["Environment"]["Variables"].get("STORYLOOM_PAGE_URL_PARAMETER")
        for name, function in synthesized.resources("AWS::Lambda::Function")
        if re.match(rf"({'|'.join(names)})[A-Z0-9]", name)
    ]
    assert asking == ["/storyloom/page-url"] * len(names)
