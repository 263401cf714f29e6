"""An endpoint that is overdue goes although no function of the account can run."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.aws.account import account_file
from local.aws.account.account_file import Account
from local.aws.cloud_environment import ACCOUNT, REGION
from stacks.chat.endpoint_guard import definition
from tests.local.sagemaker.conftest import Aws, until
from tests.local.sagemaker.test_endpoints import WORDS, _config
from tests.local.sagemaker.test_events import Function
from tests.local.sagemaker.test_function_limits import CONCURRENCY, _throttles

pytestmark = pytest.mark.cloud


@pytest.fixture(autouse=True)
def _restore_account(aws: Aws) -> Iterator[None]:
    before = account_file.read_account(aws.cloud.folders.account)
    yield
    account_file.write_account(aws.cloud.folders.account, before)


def _guard(aws: Aws, endpoint: str, table: str) -> str:
    role = aws.role(
        "states.amazonaws.com",
        {
            "dynamodb:GetItem": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}",
            "sagemaker:DeleteEndpoint": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{endpoint}",
        },
    )
    machine = aws.client("stepfunctions").create_state_machine(
        name=f"guard-{uuid4().hex[:8]}", roleArn=role, definition=json.dumps(definition(endpoint, table))
    )
    return str(machine["stateMachineArn"])


def _runs(aws: Aws, guard: str) -> None:
    """Start the guard as its rule does, and wait for its end."""
    states = aws.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=guard)["executionArn"]
    ended = until(
        lambda: states.describe_execution(executionArn=execution), lambda seen: seen["status"] != "RUNNING"
    )
    assert ended["status"] == "SUCCEEDED", ended


def _state(aws: Aws, table: str, **times: datetime) -> None:
    item: dict[str, Any] = {"pk": {"S": "HOSTING"}, "sk": {"S": "STATE"}, "status": {"S": "awake"}}
    for name, instant in times.items():
        item[name] = {"S": instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    aws.client("dynamodb").put_item(TableName=table, Item=item)


def _there(aws: Aws, endpoint: str) -> dict[str, Any]:
    try:
        found = aws.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    except ClientError:
        return {"status": None}
    return {"status": found["EndpointStatus"]}


@pytest.mark.aws_fact
def test_an_overdue_endpoint_is_deleted_while_every_function_is_throttled(aws: Aws, job_role: str) -> None:
    endpoint, table = f"endpoint-{uuid4().hex[:8]}", f"table-{uuid4().hex[:8]}"
    config = _config(aws, job_role, WORDS)
    aws.client("sagemaker").create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    until(lambda: _there(aws, endpoint), lambda seen: seen["status"] == "InService")
    aws.client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    guard, now = _guard(aws, endpoint, table), datetime.now(UTC)
    endpoint_manager = Function(aws)
    account_file.write_account(aws.cloud.folders.account, Account("new"))
    # What ten waiting streams leave of a new account's ten.
    aws.cloud.set_quota(CONCURRENCY, 0)
    aws.client("lambda").invoke(FunctionName=endpoint_manager.name, InvocationType="Event", Payload=b"{}")
    until(lambda: {"throttled": _throttles(aws, endpoint_manager)}, lambda seen: bool(seen["throttled"]))
    _runs(aws, guard)
    assert _there(aws, endpoint)["status"] == "InService", "nothing is written down yet"
    _state(aws, table)
    _runs(aws, guard)
    assert _there(aws, endpoint)["status"] == "InService", "an older version of the app wrote no time"
    _state(aws, table, sleep_by=now + timedelta(hours=1))
    _runs(aws, guard)
    assert _there(aws, endpoint)["status"] == "InService", "it is in use"
    _state(aws, table, sleep_by=now - timedelta(seconds=1))
    _runs(aws, guard)
    until(lambda: _there(aws, endpoint), lambda seen: seen["status"] is None)
    assert endpoint_manager.calls() == [], "the endpoint manager has not run"
    _runs(aws, guard)
