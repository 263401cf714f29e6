"""What the account allows its functions: memory, and how many run at once; and what becomes of the others."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.aws.account import account_file
from local.aws.account.account_file import Account
from local.aws.cloud_environment import REGION
from tests.local.sagemaker.conftest import Aws, until
from tests.local.sagemaker.test_events import Function

pytestmark = pytest.mark.cloud

CONCURRENCY = "Concurrent executions"


@pytest.fixture(autouse=True)
def _restore_account(aws: Aws) -> Iterator[None]:
    """Restore the limits of the usual account for other tests."""
    before = account_file.read_account(aws.cloud.folders.account)
    yield
    account_file.write_account(aws.cloud.folders.account, before)


@pytest.fixture(scope="module")
def function(aws: Aws) -> Function:
    """Return a function that notes its calls."""
    return Function(aws)


def _refused(call: Any, **request: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as refused:
        call(**request)
    response: Any = refused.value.response
    return dict(response)


def _impatient(aws: Aws) -> Any:
    """Return a client that does not wait and ask again when it is throttled."""
    environment = aws.cloud.environment()
    session: Any = boto3.Session(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=REGION
    )
    return session.client(
        "lambda",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        verify=environment["AWS_CA_BUNDLE"],
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.mark.aws_fact
def test_a_new_account_has_functions_of_3008_mb_at_most(aws: Aws, function: Function) -> None:
    functions = aws.client("lambda")
    functions.update_function_configuration(FunctionName=function.name, MemorySize=4096)
    account_file.write_account(aws.cloud.folders.account, Account("new"))
    error = _refused(functions.update_function_configuration, FunctionName=function.name, MemorySize=3009)[
        "Error"
    ]
    assert error["Code"] == "ValidationException"
    assert error["Message"] == (
        "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 3008"
    )
    functions.update_function_configuration(FunctionName=function.name, MemorySize=3008)


@pytest.mark.aws_fact
def test_a_new_account_rolls_back_a_stack_with_a_larger_function(aws: Aws) -> None:
    account_file.write_account(aws.cloud.folders.account, Account("new"))
    formation, name = aws.client("cloudformation"), f"large-{uuid4().hex[:8]}"
    properties = {
        "Runtime": "python3.13",
        "Handler": "index.handler",
        "Code": {"ZipFile": "def handler(event, context): pass"},
        "Role": aws.role("lambda.amazonaws.com", {"logs:*": "*"}),
        "MemorySize": 4096,
    }
    template = {"Resources": {"Large": {"Type": "AWS::Lambda::Function", "Properties": properties}}}
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    until(
        lambda: formation.describe_stacks(StackName=name)["Stacks"][0],
        lambda stack: not stack["StackStatus"].endswith("IN_PROGRESS"),
    )
    events = formation.describe_stack_events(StackName=name)["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in events]
    assert any("Member must have value less than or equal to 3008" in reason for reason in reasons)
    formation.delete_stack(StackName=name)


@pytest.mark.aws_fact
def test_beyond_the_accounts_concurrency_a_caller_gets_429(aws: Aws, function: Function) -> None:
    aws.cloud.set_quota(CONCURRENCY, 0)
    response = _refused(_impatient(aws).invoke, FunctionName=function.name, Payload=b"{}")
    assert response["Error"]["Code"] == "TooManyRequestsException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Reason"] == "ConcurrentInvocationLimitExceeded"


@pytest.mark.aws_fact
def test_a_throttled_event_is_not_lost(aws: Aws) -> None:
    function = Function(aws)
    aws.cloud.set_quota(CONCURRENCY, 0)
    accepted = aws.client("lambda").invoke(
        FunctionName=function.name, InvocationType="Event", Payload=b'{"story": 1}'
    )
    assert accepted["StatusCode"] == 202
    until(lambda: {"throttled": _throttles(aws, function)}, lambda seen: bool(seen["throttled"]))
    assert function.calls() == []
    aws.cloud.set_quota(CONCURRENCY, 10)
    seen = until(lambda: {"calls": function.calls()}, lambda look: bool(look["calls"]))
    assert [call["event"] for call in seen["calls"]] == [{"story": 1}]


@pytest.mark.aws_fact
def test_a_state_machine_sees_a_throttled_call_by_its_name(aws: Aws, function: Function) -> None:
    role = aws.role("states.amazonaws.com", {"lambda:InvokeFunction": function.arn})
    call = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function.arn},
        "Catch": [{"ErrorEquals": ["Lambda.TooManyRequestsException"], "Next": "Throttled"}],
        "End": True,
    }
    states = {"Call": call, "Throttled": {"Type": "Succeed"}}
    machines = aws.client("stepfunctions")
    machine = machines.create_state_machine(
        name=f"throttled-{uuid4().hex[:8]}",
        roleArn=role,
        definition=json.dumps({"StartAt": "Call", "States": states}),
    )["stateMachineArn"]
    aws.cloud.set_quota(CONCURRENCY, 0)
    execution = machines.start_execution(stateMachineArn=machine)["executionArn"]
    ended = until(
        lambda: machines.describe_execution(executionArn=execution), lambda seen: seen["status"] != "RUNNING"
    )
    assert ended["status"] == "SUCCEEDED"
    assert "Lambda.TooManyRequestsException" in ended["output"]


@pytest.mark.aws_fact
def test_reservations_must_leave_enough_to_the_other_functions(aws: Aws, function: Function) -> None:
    functions = aws.client("lambda")
    reserve = {"FunctionName": function.name, "ReservedConcurrentExecutions": 901}
    error = _refused(functions.put_function_concurrency, **reserve)["Error"]
    assert error["Code"] == "InvalidParameterValueException"
    assert "UnreservedConcurrentExecution below its minimum value of [100]" in error["Message"]
    account_file.write_account(aws.cloud.folders.account, Account("new"))
    error = _refused(functions.put_function_concurrency, **{**reserve, "ReservedConcurrentExecutions": 1})[
        "Error"
    ]
    assert "UnreservedConcurrentExecution below its minimum value of [10]" in error["Message"]


def test_the_account_says_how_many_functions_may_run(aws: Aws, function: Function) -> None:
    functions = aws.client("lambda")
    functions.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=5)
    limits = functions.get_account_settings()["AccountLimit"]
    assert (limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]) == (1_000, 995)
    functions.delete_function_concurrency(FunctionName=function.name)
    account_file.write_account(aws.cloud.folders.account, Account("new"))
    assert functions.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 10


def _throttles(aws: Aws, function: Function) -> list[dict[str, Any]]:
    metrics = aws.client("cloudwatch").list_metrics(
        Namespace="AWS/Lambda",
        MetricName="Throttles",
        Dimensions=[{"Name": "FunctionName", "Value": function.name}],
    )
    return list(metrics["Metrics"])
