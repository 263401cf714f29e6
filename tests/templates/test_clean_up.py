"""In which order CloudFormation deletes the stacks' resources: the reverse of what depends on what."""

import json
import re
from collections.abc import Mapping
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
def test_what_could_start_something_is_gone_before_the_clean_up(synthesized: Synthesized) -> None:
    for stack, makers in {
        "pipeline": [("", "Events::Rule")],
        "chat": [
            ("KeeperFunction", "Lambda::Function"),
            ("StartTransformFunction", "Lambda::Function"),
            ("ChatApiFunction", "Lambda::Function"),
            ("KeeperTick", "Events::Rule"),
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
def test_the_parameter_that_allows_an_endpoint_exists_only_with_the_keeper(synthesized: Synthesized) -> None:
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
