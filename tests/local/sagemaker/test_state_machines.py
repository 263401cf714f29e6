"""State machines under their own role, with SageMaker's ``.sync`` tasks and a batched Distributed Map."""

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.aws.cloud_environment import ACCOUNT, REGION
from tests.local.sagemaker.conftest import BUCKET, Aws, training_request, until

pytestmark = pytest.mark.cloud

RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/StepFunctionsGetEventsForSageMakerTrainingJobsRule"
PERMISSIONS = {
    "lambda:InvokeFunction": "*",
    "s3:GetObject": f"arn:aws:s3:::{BUCKET}/items.jsonl",
    "states:StartExecution": "*",
    "sagemaker:CreateTrainingJob": "*",
    "sagemaker:DescribeTrainingJob": "*",
    "sagemaker:StopTrainingJob": "*",
    "sagemaker:AddTags": "*",
    "sagemaker:ListTags": "*",
    "iam:PassRole": "*",
    "events:PutRule": RULE,
    "events:PutTargets": RULE,
    "events:DescribeRule": RULE,
}
ENTRY_POINT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "/opt/ml/input/data/code"}
COUNT = """
def handler(event, context):
    return {"items": len(event["Items"]), "run": event["BatchInput"]["run"]}
"""


@dataclass(frozen=True)
class Machine:
    """A state machine: a Distributed Map over 45 items in batches of 20, then a training job."""

    aws: Aws
    arn: str
    role: str

    def start(self, **hyperparameters: str) -> tuple[str, str]:
        """Return the execution's ARN and the job's name."""
        job = f"job-{uuid4().hex[:8]}"
        given = json.dumps({"job": job, "hyperparameters": {**hyperparameters, **ENTRY_POINT}})
        execution = self.aws.client("stepfunctions").start_execution(stateMachineArn=self.arn, input=given)
        return execution["executionArn"], job

    def ended(self, execution: str) -> dict[str, Any]:
        """Return the execution's description when it has ended."""
        states = self.aws.client("stepfunctions")
        return until(
            lambda: states.describe_execution(executionArn=execution),
            lambda seen: seen["status"] != "RUNNING",
        )


def definition(job_role: str) -> dict[str, Any]:
    """Return the machine's definition."""
    request = training_request("", job_role)
    # What Step Functions is not known to take.
    del request["TrainingJobName"], request["OutputDataConfig"]["CompressionType"]
    for member in ("ContainerEntrypoint", "ContainerArguments"):
        del request["AlgorithmSpecification"][member]
    count = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "count-items", "Payload.$": "$"},
        "OutputPath": "$.Payload",
        "End": True,
    }
    return {
        "StartAt": "Count",
        "States": {
            "Count": {
                "Type": "Map",
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    "StartAt": "CountBatch",
                    "States": {"CountBatch": count},
                },
                "ItemReader": {
                    "Resource": "arn:aws:states:::s3:getObject",
                    "ReaderConfig": {"InputType": "JSONL"},
                    "Parameters": {"Bucket": BUCKET, "Key": "items.jsonl"},
                },
                "ItemBatcher": {"MaxItemsPerBatch": 20, "BatchInput": {"run.$": "$.job"}},
                "ResultPath": "$.counted",
                "Next": "Train",
            },
            "Train": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
                "Parameters": {
                    **request,
                    "TrainingJobName.$": "$.job",
                    "HyperParameters.$": "$.hyperparameters",
                },
                "TimeoutSeconds": 40,
                "ResultPath": "$.trained",
                "End": True,
            },
        },
    }


@pytest.fixture(scope="module")
def machine(aws: Aws, job_role: str) -> Machine:
    """Return the deployed machine."""
    lines = "\n".join(json.dumps({"key": f"story-{number}"}) for number in range(45))
    aws.client("s3").put_object(Bucket=BUCKET, Key="items.jsonl", Body=lines)
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("count.py", COUNT)
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName="count-items",
        Runtime="python3.13",
        Role=aws.role("lambda.amazonaws.com", {"logs:*": "*"}),
        Handler="count.handler",
        Code={"ZipFile": bundle.getvalue()},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="count-items")
    role = aws.role("states.amazonaws.com", PERMISSIONS)
    created = aws.client("stepfunctions").create_state_machine(
        name=f"machine-{uuid4().hex[:8]}", roleArn=role, definition=json.dumps(definition(job_role))
    )
    return Machine(aws, created["stateMachineArn"], role)


def test_it_batches_the_items_and_waits_for_the_job(machine: Machine) -> None:
    execution, job = machine.start()
    ended = machine.ended(execution)

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    output = json.loads(ended["output"])
    assert [batch["items"] for batch in output["counted"]] == [20, 20, 5]
    assert {batch["run"] for batch in output["counted"]} == {job}
    assert output["trained"]["TrainingJobStatus"] == "Completed"
    assert output["trained"]["ModelArtifacts"]["S3ModelArtifacts"].endswith(f"{job}/output/model.tar.gz")
    arn = output["trained"]["TrainingJobArn"]
    tags = machine.aws.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
    assert tags == [{"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}]


def test_the_batches_of_one_machine_can_be_allowed_by_name(machine: Machine) -> None:
    execution, _ = machine.start()
    machine.ended(execution)
    [run] = machine.aws.client("stepfunctions").list_map_runs(executionArn=execution)["mapRuns"]
    own = machine.arn.replace(":stateMachine:", ":mapRun:") + "/*"

    reader = machine.aws.user("stepfunctions", {"states:ListExecutions": own})
    assert len(reader.list_executions(mapRunArn=run["mapRunArn"])["executions"]) == 3
    stranger = machine.aws.user("stepfunctions", {"states:ListExecutions": own.replace("/*", "-other/*")})
    with pytest.raises(ClientError, match=r"not authorized to perform: states:ListExecutions"):
        stranger.list_executions(mapRunArn=run["mapRunArn"])


def test_a_failed_job_is_a_failed_task_with_the_jobs_description(machine: Machine) -> None:
    execution, job = machine.start(fail_with="1", words="the stories are too short")
    ended = machine.ended(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(ended["cause"])
    assert cause["TrainingJobName"] == job
    assert cause["FailureReason"] == "AlgorithmError: the stories are too short, exit code: 1"


def test_a_stopped_execution_stays_stopped_and_stops_its_job(machine: Machine) -> None:
    execution, job = machine.start(seconds="50")
    sagemaker = machine.aws.client("sagemaker")
    until(
        lambda: {"jobs": machine.aws.client("sagemaker").list_training_jobs(NameContains=job)},
        lambda seen: bool(seen["jobs"]["TrainingJobSummaries"]),
    )
    machine.aws.client("stepfunctions").stop_execution(executionArn=execution, error="Test", cause="enough")

    assert machine.aws.ended(job)["TrainingJobStatus"] == "Stopped"
    assert machine.ended(execution)["status"] == "ABORTED"
    assert sagemaker.describe_training_job(TrainingJobName=job)["SecondaryStatus"] == "Stopped"


@pytest.mark.aws_fact
def test_a_task_that_times_out_leaves_its_job_running(machine: Machine, aws: Aws, job_role: str) -> None:
    train = definition(job_role)["States"]["Train"] | {"TimeoutSeconds": 1}
    states = aws.client("stepfunctions")
    impatient = states.create_state_machine(
        name=f"machine-{uuid4().hex[:8]}",
        roleArn=machine.role,
        definition=json.dumps({"StartAt": "Train", "States": {"Train": train}}),
    )
    execution, job = Machine(aws, impatient["stateMachineArn"], machine.role).start(seconds="3")
    assert machine.ended(execution)["error"] == "States.Timeout"
    assert aws.ended(job)["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize("missing", [name for name in PERMISSIONS if name != "sagemaker:StopTrainingJob"])
def test_a_role_without_a_permission_fails_the_execution_and_names_it(machine: Machine, missing: str) -> None:
    rest = {action: on for action, on in PERMISSIONS.items() if action != missing}
    machine.aws.allow(machine.role, rest)
    try:
        execution, _ = machine.start()
        ended = machine.ended(execution)
    finally:
        machine.aws.allow(machine.role, PERMISSIONS)
    assert ended["status"] == "FAILED"
    if (
        missing == "lambda:InvokeFunction"
    ):  # inside a Distributed Map: the child's own error has it, as on AWS
        states = machine.aws.client("stepfunctions")
        [run] = states.list_map_runs(executionArn=execution)["mapRuns"]
        children = states.list_executions(mapRunArn=run["mapRunArn"])["executions"]
        assert len(children) == 3
        ended = states.describe_execution(executionArn=children[0]["executionArn"])
    assert f"not authorized to perform: {missing}" in ended["cause"]


def test_a_role_that_may_not_make_the_managed_rule_is_refused_at_once(aws: Aws, job_role: str) -> None:
    rest = {action: on for action, on in PERMISSIONS.items() if action != "events:PutTargets"}
    with pytest.raises(ClientError, match=r"not authorized to create managed-rule.*events:PutTargets"):
        aws.client("stepfunctions").create_state_machine(
            name=f"machine-{uuid4().hex[:8]}",
            roleArn=aws.role("states.amazonaws.com", rest),
            definition=json.dumps(definition(job_role)),
        )


def test_a_machine_ends_when_its_own_time_is_over(aws: Aws) -> None:
    states = aws.client("stepfunctions")
    waiting = {
        "StartAt": "Wait",
        "TimeoutSeconds": 1,
        "States": {"Wait": {"Type": "Wait", "Seconds": 3, "End": True}},
    }
    arn = states.create_state_machine(
        name=f"machine-{uuid4().hex[:8]}",
        roleArn=aws.role("states.amazonaws.com", {"states:DescribeExecution": "*"}),
        definition=json.dumps(waiting),
    )["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=arn)["executionArn"]
    ended = until(
        lambda: states.describe_execution(executionArn=execution), lambda seen: seen["status"] != "RUNNING"
    )
    assert ended["status"] == "TIMED_OUT"
