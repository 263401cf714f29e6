"""Tasks that wait for a callback: who may answer, and what ends the waiting."""

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.conftest import Aws, until

pytestmark = pytest.mark.cloud

FAIL = """
def handler(event, context):
    raise RuntimeError("the question could not be asked")
"""


@dataclass(frozen=True)
class Machine:
    """A machine whose one task sends its token to a queue and waits for the answer."""

    aws: Aws
    arn: str
    queue: str

    def start(self) -> tuple[str, str]:
        """Return the execution's ARN and the task's token."""
        execution = self.aws.client("stepfunctions").start_execution(stateMachineArn=self.arn)
        received = until(
            lambda: self.aws.client("sqs").receive_message(QueueUrl=self.queue),
            lambda answer: bool(answer.get("Messages")),
        )
        return execution["executionArn"], json.loads(received["Messages"][0]["Body"])["token"]


@pytest.fixture(scope="module")
def machine(aws: Aws) -> Machine:
    """Return the deployed machine."""
    queue = aws.client("sqs").create_queue(QueueName=f"tokens-{uuid4().hex[:8]}")["QueueUrl"]
    resource = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
    parameters = {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}}
    arn = _create(aws, {"sqs:SendMessage": "*"}, resource, parameters)
    return Machine(aws, arn, queue)


def _create(aws: Aws, allowed: dict[str, str], resource: str, parameters: dict[str, Any]) -> str:
    wait = {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}
    created = aws.client("stepfunctions").create_state_machine(
        name=f"machine-{uuid4().hex[:8]}",
        roleArn=aws.role("states.amazonaws.com", allowed),
        definition=json.dumps({"StartAt": "Wait", "States": {"Wait": wait}}),
    )
    return str(created["stateMachineArn"])


def _ended(aws: Aws, execution: str) -> dict[str, Any]:
    states = aws.client("stepfunctions")
    return until(
        lambda: states.describe_execution(executionArn=execution), lambda seen: seen["status"] != "RUNNING"
    )


def test_who_may_answer_is_allowed_by_the_machines_name(machine: Machine) -> None:
    execution, token = machine.start()
    stranger = machine.aws.user("stepfunctions", {"states:SendTaskSuccess": f"{machine.arn}-other"})
    with pytest.raises(ClientError, match=r"not authorized to perform: states:SendTaskSuccess"):
        stranger.send_task_success(taskToken=token, output="{}")
    person = machine.aws.user("stepfunctions", {"states:SendTaskSuccess": machine.arn})
    person.send_task_success(taskToken=token, output='{"answer": "approved"}')
    assert json.loads(_ended(machine.aws, execution)["output"]) == {"answer": "approved"}
    with pytest.raises(ClientError, match="TaskDoesNotExist"):
        person.send_task_success(taskToken=token, output="{}")


def test_nobody_answers_for_an_execution_that_was_stopped(machine: Machine) -> None:
    execution, token = machine.start()
    states = machine.aws.client("stepfunctions")
    states.stop_execution(executionArn=execution)

    def error() -> dict[str, Any]:
        try:
            states.send_task_success(taskToken=token, output="{}")
        except ClientError as refused:
            return {**refused.response["Error"]}
        return {}

    assert until(error, bool)["Code"] == "TaskDoesNotExist"
    assert states.describe_execution(executionArn=execution)["status"] == "ABORTED"


def test_a_task_whose_function_fails_does_not_wait(aws: Aws) -> None:
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("fail.py", FAIL)
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName="fail-to-ask",
        Runtime="python3.13",
        Role=aws.role("lambda.amazonaws.com", {"logs:*": "*"}),
        Handler="fail.handler",
        Code={"ZipFile": bundle.getvalue()},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="fail-to-ask")
    resource = "arn:aws:states:::lambda:invoke.waitForTaskToken"
    parameters = {"FunctionName": "fail-to-ask", "Payload": {"token.$": "$$.Task.Token"}}
    arn = _create(aws, {"lambda:InvokeFunction": "*"}, resource, parameters)
    execution = aws.client("stepfunctions").start_execution(stateMachineArn=arn)["executionArn"]
    ended = _ended(aws, execution)
    assert ended["status"] == "FAILED"
    assert "the question could not be asked" in ended["cause"]
