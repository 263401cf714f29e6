"""The stacks as a whole: how they depend on one another, and that no change goes unseen."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from stacks.containers import hosting_image, training_image
from tests.templates.conftest import Synthesized, flat

_PHYSICAL = {
    *("BucketName", "TableName", "FunctionName", "RoleName", "TopicName", "UserPoolName", "BudgetName"),
    *("StateMachineName", "LogGroupName", "ModelPackageGroupName", "DashboardName", "AlarmName"),
}

STACKS = ("storage", "pipeline", "chat", "operations")


@pytest.mark.parametrize("stack", STACKS)
def test_no_stack_locks_another(synthesized: Synthesized, stack: str) -> None:
    template = json.dumps(synthesized.templates[stack].to_json())
    assert "Fn::ImportValue" not in template
    assert '"Export"' not in template


def test_what_one_stack_reads_another_publishes(synthesized: Synthesized) -> None:
    published = {
        (stack.stack_name, key)
        for name, stack in vars(synthesized.stacks).items()
        for key in synthesized.templates[name].to_json().get("Outputs", {})
    }
    read = {
        (found["StackName"], found["OutputName"])
        for template in synthesized.templates.values()
        for found in _found(template.to_json(), "Fn::GetStackOutput")
    }
    assert read
    assert read <= published


@pytest.mark.parametrize(
    ("stack", "keys"),
    [
        ("storage", {"StoriesBucketName", "ArtifactsBucketName", "TableName"}),
        (
            "pipeline",
            {
                *("StateMachineArn", "TopicArn", "StartRunFunctionName", "CleanUpFunctionName"),
                *("HostingRoleArn", "TransformRoleArn"),
            },
        ),
        (
            "chat",
            {
                *(
                    "PageUrl",
                    "ApiUrl",
                    "ApiName",
                    "UserPoolId",
                    "UserPoolClientId",
                    "EndpointManagerFunctionName",
                ),
                *("EndpointName", "DistributionId"),
            },
        ),
        ("operations", {"DashboardUrl"}),
    ],
)
def test_the_outputs_are_those_of_the_contract(synthesized: Synthesized, stack: str, keys: set[str]) -> None:
    assert set(synthesized.templates[stack].to_json()["Outputs"]) == keys


def test_a_second_app_has_names_of_its_own(other: Synthesized) -> None:
    names = [stack.stack_name for stack in vars(other.stacks).values()]
    assert names == ["Fables-Storage", "Fables-Pipeline", "Fables-Chat", "Fables-Operations"]
    for template in other.templates.values():
        assert "/storyloom" not in json.dumps(template.to_json()), "what runs has the name of its own app"


def test_physical_names_are_given_only_where_they_must_be(synthesized: Synthesized) -> None:
    named = {
        (resource["Type"], key)
        for template in synthesized.templates.values()
        for resource in template.to_json()["Resources"].values()
        for key, value in resource.get("Properties", {}).items()
        if isinstance(value, str) and key in _PHYSICAL
    }
    assert named == {
        ("AWS::StepFunctions::StateMachine", "StateMachineName"),  # decisions/0002
        ("AWS::Logs::LogGroup", "LogGroupName"),  # Step Functions' prefix
        ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupName"),  # required
        ("AWS::CloudWatch::Alarm", "AlarmName"),  # decisions/0009
    }


def test_every_log_ends_and_goes_with_its_stack(synthesized: Synthesized) -> None:
    logs = dict(synthesized.resources("AWS::Logs::LogGroup"))
    assert len(logs) > 15
    for name, log in logs.items():
        assert log["Properties"]["RetentionInDays"] == 30, name
        assert log["DeletionPolicy"] == "Delete", name
    for name, function in synthesized.resources("AWS::Lambda::Function"):
        assert function["Properties"]["LoggingConfig"]["LogGroup"], name


def test_every_function_has_what_every_function_needs(synthesized: Synthesized) -> None:
    for name, function in synthesized.resources("AWS::Lambda::Function"):
        if name.startswith("CustomCDK"):
            continue
        properties = function["Properties"]
        variables = properties["Environment"]["Variables"]
        assert {"STORYLOOM_NAME", "STORYLOOM_TABLE", "POWERTOOLS_SERVICE_NAME"} <= set(variables), name
        model = json.loads(variables["STORYLOOM_BASE_MODEL"])
        assert (model["slug"], len(model["revision"])) == ("smollm2-1.7b", 40)
        assert properties["Runtime"] == "python3.14"
        assert properties["Timeout"] > 3
        assert properties["Architectures"] == ["x86_64"]


def test_images_are_those_of_the_region() -> None:
    for region in ("us-east-1", "eu-west-3", "ap-northeast-1"):
        training, hosting = training_image(region, "ml.g6.xlarge"), hosting_image(region, "ml.g6.xlarge")
        assert f".dkr.ecr.{region}.amazonaws.com/huggingface-pytorch-training:2.9.0-" in training
        assert f".dkr.ecr.{region}.amazonaws.com/vllm:0.30.0-gpu-" in hosting


def test_the_training_code_lies_below_its_own_hash(synthesized: Synthesized) -> None:
    (deployment,) = synthesized.pipeline.find_resources("Custom::CDKBucketDeployment").values()
    prefix = deployment["Properties"]["DestinationBucketKeyPrefix"]
    assert re.fullmatch(r"training-code/[0-9a-f]{16}", prefix)
    assert deployment["Properties"]["Prune"] is False, "a run that is going reads the version before"
    (uri,) = [
        flat(function["Properties"]["Environment"]["Variables"]["STORYLOOM_TRAINING_CODE_URI"])
        for name, function in synthesized.pipeline.find_resources("AWS::Lambda::Function").items()
        if name.startswith("Assemble")
    ]
    assert uri == f"s3://<ArtifactsBucketName>/{prefix}/"


@pytest.mark.parametrize("stack", STACKS)
def test_the_template_is_as_it_was(synthesized: Synthesized, snapshot: SnapshotAssertion, stack: str) -> None:
    """Changed on purpose? `pytest tests/templates --snapshot-update`, and read the difference."""
    assert _without_hashes(synthesized.templates[stack].to_json()) == snapshot(
        extension_class=JSONSnapshotExtension, name=stack
    )


def _without_hashes(template: Mapping[str, Any]) -> Any:
    """Mask what changes with the code and not with the infrastructure: hashes of assets."""
    text = json.dumps(template)
    text = re.sub(r"\b[0-9a-f]{64}\b", "<asset hash>", text)
    text = re.sub(r"training-code/[0-9a-f]{16}", "training-code/<asset hash>", text)
    return json.loads(text)


def _found(value: Any, key: str) -> list[dict[str, str]]:
    if isinstance(value, dict):
        here = [value[key]] if key in value else []
        return here + [found for part in value.values() for found in _found(part, key)]
    if isinstance(value, list):
        return [found for part in value for found in _found(part, key)]
    return []
