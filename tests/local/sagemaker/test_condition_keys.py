"""The condition keys that the app's permissions name are compared with each request.

A key that nothing fills in would make a test of the templates one that cannot fail: `ForAllValues` holds for
a key that is missing.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.cloud_environment import ACCOUNT
from tests.local.sagemaker.conftest import BUCKET, Aws, training_request

pytestmark = pytest.mark.cloud
_TABLE = "partitioned"
_ACTIONS = ("GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem")


def _machine(instance: str) -> dict[str, Any]:
    return {"InstanceType": instance, "InstanceCount": 1, "VolumeSizeInGB": 10}


def _denied(call: Any, **request: Any) -> bool:
    try:
        call(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}:
            return True
        raise
    return False


@pytest.fixture(scope="module")
def table(aws: Aws) -> Iterator[str]:
    """Return a table like the app's."""
    dynamodb = aws.client("dynamodb")
    dynamodb.create_table(
        TableName=_TABLE,
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    yield _TABLE
    dynamodb.delete_table(TableName=_TABLE)


@pytest.fixture(scope="module")
def runs_only(aws: Aws, table: str) -> Any:
    """Return a client of somebody who may use one partition, and those that begin with USAGE#."""
    statement = {
        "Action": [f"dynamodb:{action}" for action in _ACTIONS],
        "Resource": "*",
        "Condition": {
            "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["RUNS", "USAGE#*"]},
            "Null": {"dynamodb:LeadingKeys": "false"},
        },
    }
    return aws.user_with("dynamodb", [statement])


def _key(partition: str) -> dict[str, Any]:
    return {"pk": {"S": partition}, "sk": {"S": "a"}}


@pytest.mark.aws_fact
@pytest.mark.parametrize(("partition", "reached"), [("RUNS", True), ("USAGE#a", True), ("KEYS", False)])
def test_a_request_reaches_the_partitions_that_are_named(
    runs_only: Any, table: str, partition: str, reached: bool
) -> None:
    asked = {
        "TableName": table,
        "KeyConditionExpression": "#p = :p",
        "ExpressionAttributeNames": {"#p": "pk"},
        "ExpressionAttributeValues": {":p": {"S": partition}},
    }
    key = _key(partition)
    denied = {
        "PutItem": _denied(runs_only.put_item, TableName=table, Item=key),
        "GetItem": _denied(runs_only.get_item, TableName=table, Key=key),
        "BatchGetItem": _denied(runs_only.batch_get_item, RequestItems={table: {"Keys": [key]}}),
        "Query": _denied(runs_only.query, **asked),
        "UpdateItem": _denied(runs_only.update_item, TableName=table, Key=key),
        "DeleteItem": _denied(runs_only.delete_item, TableName=table, Key=key),
    }
    assert denied == dict.fromkeys(_ACTIONS, not reached)


@pytest.mark.aws_fact
def test_one_forbidden_item_refuses_all_of_them(runs_only: Any, table: str) -> None:
    keys = [_key("RUNS"), _key("KEYS")]
    assert _denied(runs_only.batch_get_item, RequestItems={table: {"Keys": keys}})
    written = [{"Put": {"TableName": table, "Item": key}} for key in keys]
    assert _denied(runs_only.transact_write_items, TransactItems=written)
    assert not _denied(runs_only.transact_write_items, TransactItems=written[:1])
    assert _denied(runs_only.scan, TableName=table)


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("changes", "denied"),
    [
        ({}, False),
        ({"ResourceConfig": _machine("ml.p5.48xlarge")}, True),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 61}}, True),
        ({"EnableNetworkIsolation": False}, True),
    ],
    ids=["as allowed", "another machine", "longer", "with a network"],
)
def test_a_job_is_no_larger_than_its_maker_may_make_it(
    aws: Aws, job_role: str, changes: dict[str, Any], denied: bool
) -> None:
    conditions = {
        "ForAllValues:StringEquals": {"sagemaker:InstanceTypes": ["ml.g6.xlarge"]},
        "Null": {"sagemaker:InstanceTypes": "false"},
        "Bool": {"sagemaker:NetworkIsolation": "true"},
        "NumericLessThanEquals": {"sagemaker:MaxRuntimeInSeconds": "60"},
    }
    limited = aws.user_with(
        "sagemaker",
        [
            {"Action": "sagemaker:CreateTrainingJob", "Resource": "*", "Condition": conditions},
            {"Action": ["iam:PassRole"], "Resource": job_role},
        ],
    )
    name = f"limited-{len(str(changes))}"
    request = {**training_request(name, job_role), **changes}
    assert _denied(limited.create_training_job, **request) is denied
    if not denied:
        aws.client("sagemaker").stop_training_job(TrainingJobName=name)
        aws.ended(name)


@pytest.mark.aws_fact
@pytest.mark.parametrize(("owner", "denied"), [(ACCOUNT, False), ("999999999999", True)])
def test_a_bucket_of_another_account_is_out_of_reach(aws: Aws, owner: str, denied: bool) -> None:
    condition = {"StringEquals": {"aws:ResourceAccount": owner}}
    statement = {"Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}", "Condition": condition}
    limited = aws.user_with("s3", [statement])
    assert _denied(limited.list_objects_v2, Bucket=BUCKET) is denied


def test_metrics_are_published_to_the_named_namespace_only(aws: Aws) -> None:
    condition = {"StringEquals": {"cloudwatch:namespace": "/aws/sagemaker/TrainingJobs"}}
    client = aws.user_with(
        "cloudwatch", [{"Action": "cloudwatch:PutMetricData", "Resource": "*", "Condition": condition}]
    )
    # Many at once, which botocore sends compressed.
    data = [{"MetricName": "train:loss", "Value": float(number)} for number in range(400)]
    assert not _denied(client.put_metric_data, Namespace="/aws/sagemaker/TrainingJobs", MetricData=data)
    assert _denied(client.put_metric_data, Namespace="Another", MetricData=data)
    assert _denied(client.put_metric_data, Namespace="Another", MetricData=data[:1])
