"""Requests against SageMaker's own model: what is wrong is named, all of it, in AWS's words."""

import re
from typing import Any

import pytest

from local.aws.errors import AwsError
from local.aws.service_models import validate

ROLE = "arn:aws:iam::123456789012:role/somebody"


def problems(operation: str, request: dict[str, Any]) -> str:
    """Return the message of the ValidationException."""
    with pytest.raises(AwsError) as refused:
        validate(operation, request)
    assert refused.value.code == "ValidationException"
    return refused.value.message


def test_a_good_request_passes() -> None:
    output = {"S3OutputPath": "s3://bucket/out"}
    validate("CreateTrainingJob", {"TrainingJobName": "a", "RoleArn": ROLE, "OutputDataConfig": output})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "Value null at 'trainingJobName' failed to satisfy constraint: Member must not be null"),
        ({"TrainingJobName": 7}, "Value '7' at 'trainingJobName' .* Member must be of type string"),
        ({"TrainingJobName": "a" * 64}, "Member must have length less than or equal to 63"),
        ({"TrainingJobname": "a"}, "Unknown parameter 'trainingJobname', must be one of: .*TrainingJobName"),
        ({"HyperParameters": {"a": 1}}, "Value '1' at 'hyperParameters.a.member'"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "Value '0' at 'stoppingCondition.maxRuntimeInSeconds' .* value greater than or equal to 1",
        ),
        ({"EnableNetworkIsolation": "true"}, "'enableNetworkIsolation' .* Member must be of type boolean"),
        (
            {"InputDataConfig": [{"ChannelName": "x y", "DataSource": {}}]},
            "'x y' at 'inputDataConfig.1.member.channelName' .* regular expression pattern",
        ),
    ],
)
def test_what_is_wrong_is_named(request_: dict[str, Any], message: str) -> None:
    assert re.search(message, problems("CreateTrainingJob", request_), re.DOTALL)


def test_every_problem_is_listed() -> None:
    assert problems("CreateTrainingJob", {}).startswith("3 validation errors detected: ")


def test_an_operation_that_sagemaker_does_not_have() -> None:
    with pytest.raises(AwsError, match="UnknownOperationException"):
        validate("CreateDaydream", {})
