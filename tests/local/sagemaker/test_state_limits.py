"""What ends an execution on AWS whatever its Catch says: unknown fields, large payloads, long histories."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.local.sagemaker.conftest import BUCKET, Aws, training_request, until

pytestmark = pytest.mark.cloud

CAUGHT = {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]}
ENDS = {"Caught": {"Type": "Succeed"}, "Done": {"Type": "Pass", "End": True}}
LARGE = "a story " * 4000
"""32 KB; eight of them fit into a state, nine do not."""
WRITES = ("PutObject", "GetObject", "ListMultipartUploadParts", "AbortMultipartUpload")


def run(aws: Aws, first: dict[str, Any], given: dict[str, Any], **permissions: str) -> dict[str, Any]:
    """Return the description of an execution of a machine whose one state is `first`, when it has ended."""
    states = aws.client("stepfunctions")
    allowed = {"states:StartExecution": "*", **permissions}
    machine = states.create_state_machine(
        name=f"limits-{uuid4().hex[:8]}",
        roleArn=aws.role("states.amazonaws.com", allowed),
        definition=json.dumps(
            {"StartAt": "First", "States": {"First": {**first, **CAUGHT, "Next": "Done"}, **ENDS}}
        ),
    )
    execution = states.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps(given))
    return until(
        lambda: states.describe_execution(executionArn=execution["executionArn"]),
        lambda seen: seen["status"] != "RUNNING",
    )


def map_over(count: int, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a Distributed Map whose children give a large result each, and its input."""
    child = {"Type": "Pass", "Result": LARGE, "End": True}
    state = {
        "Type": "Map",
        "ItemsPath": "$.items",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Tell",
            "States": {"Tell": child},
        },
        "ResultPath": None,
        **changes,
    }
    return state, {"items": list(range(count))}


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("where", "member", "value"),
    [
        ("AlgorithmSpecification", "ContainerEntrypoint", ["python3", "train.py"]),
        ("OutputDataConfig", "CompressionType", "NONE"),
    ],
)
def test_a_field_that_step_functions_does_not_know_ends_the_execution(
    aws: Aws, job_role: str, where: str, member: str, value: Any
) -> None:
    request = training_request(f"job-{uuid4().hex[:8]}", job_role)
    del request["AlgorithmSpecification"]["ContainerEntrypoint"]
    del request["AlgorithmSpecification"]["ContainerArguments"]
    del request["OutputDataConfig"]["CompressionType"]
    request[where][member] = value
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createTrainingJob",
        "Parameters": request,
        "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 3}],
    }
    ended = run(aws, task, {}, **{"sagemaker:CreateTrainingJob": "*"})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert f'The field "{member}" is not supported by Step Functions' in ended["cause"]


@pytest.mark.aws_fact
def test_the_results_of_a_distributed_map_are_limited_although_they_are_thrown_away(aws: Aws) -> None:
    assert run(aws, *map_over(7))["status"] == "SUCCEEDED"
    ended = run(aws, *map_over(9))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")


@pytest.mark.aws_fact
def test_a_result_writer_puts_them_into_s3_and_needs_four_permissions(aws: Aws) -> None:
    writer = {
        "Resource": "arn:aws:states:::s3:putObject",
        "Parameters": {"Bucket": BUCKET, "Prefix.$": "States.Format('results/{}', $.items[0])"},
    }
    state, given = map_over(9, ResultWriter=writer, ResultPath="$.written")
    below = {f"s3:{action}": f"arn:aws:s3:::{BUCKET}/results/*" for action in WRITES}
    ended = run(aws, state, given, **below)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    details = json.loads(ended["output"])["written"]["ResultWriterDetails"]
    assert details["Key"].startswith("results/0/")
    manifest = json.loads(aws.client("s3").get_object(Bucket=BUCKET, Key=details["Key"])["Body"].read())
    [succeeded] = manifest["ResultFiles"]["SUCCEEDED"]
    results = json.loads(aws.client("s3").get_object(Bucket=BUCKET, Key=succeeded["Key"])["Body"].read())
    assert results == [LARGE] * 9

    del below["s3:ListMultipartUploadParts"]
    refused = run(aws, state, given, **below)
    assert "s3:ListMultipartUploadParts" in json.loads(refused["output"])["Cause"], "this can be caught"


@pytest.mark.aws_fact
def test_a_states_output_is_limited(aws: Aws) -> None:
    ended = run(aws, {"Type": "Pass", "Result": LARGE * 9}, {})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")
