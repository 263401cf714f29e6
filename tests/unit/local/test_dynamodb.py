"""The partition keys that IAM compares a request of DynamoDB with."""

from typing import Any

import pytest
from boto3.dynamodb.conditions import ConditionExpressionBuilder, Key
from ministack.core import iam_evaluator
from ministack.services import dynamodb

from local.aws.services.dynamodb import leading_keys

_KEY = {"pk": {"S": "RUNS"}, "sk": {"S": "a"}}
_OTHER = {"pk": {"S": "KEYS"}, "sk": {"S": "b"}}


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return the app's table, and none else."""
    schema = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    monkeypatch.setattr(dynamodb, "_tables", {"records": {"KeySchema": schema}})


def _query() -> dict[str, Any]:
    built = ConditionExpressionBuilder().build_expression(
        Key("sk").begins_with("2026") & Key("pk").eq("RUNS"), is_key_condition=True
    )
    return {
        "TableName": "records",
        "KeyConditionExpression": built.condition_expression,
        "ExpressionAttributeNames": built.attribute_name_placeholders,
        "ExpressionAttributeValues": {
            name: {"S": value} for name, value in built.attribute_value_placeholders.items()
        },
    }


@pytest.mark.parametrize(
    ("request_", "keys"),
    [
        ({"TableName": "records", "Key": _KEY}, ["RUNS"]),
        ({"TableName": "arn:aws:dynamodb:us-east-1:1:table/records", "Key": _KEY}, ["RUNS"]),
        ({"TableName": "records", "Item": {**_OTHER, "n": {"N": "1"}}}, ["KEYS"]),
        ({"RequestItems": {"records": {"Keys": [_KEY, _OTHER]}}}, ["RUNS", "KEYS"]),
        ({"RequestItems": {"records": [{"PutRequest": {"Item": _KEY}}, {"DeleteRequest": {"Key": _OTHER}}]}},
         ["RUNS", "KEYS"]),
        ({"TransactItems": [{"Put": {"TableName": "records", "Item": _KEY}},
                            {"Update": {"TableName": "records", "Key": _OTHER}}]}, ["RUNS", "KEYS"]),
        (_query(), ["RUNS"]),
        ({"TableName": "records"}, []),
    ],
    ids=["key", "by the table's ARN", "item", "batch get", "batch write", "transaction", "query", "scan"],
)  # fmt: skip
def test_the_keys_of_a_request(request_: dict[str, Any], keys: list[str]) -> None:
    assert list(leading_keys(request_)) == keys


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("keys", "allowed"),
    [(["RUNS"], True), (["USAGE#a"], True), (["KEYS"], False), (["RUNS", "KEYS"], False), (None, False)],
)
def test_a_partition_that_is_not_named_is_out_of_reach(keys: list[str] | None, allowed: bool) -> None:
    statement = {
        "Effect": "Allow",
        "Action": "dynamodb:GetItem",
        "Resource": "*",
        "Condition": {
            "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["RUNS", "USAGE#*"]},
            "Null": {"dynamodb:LeadingKeys": "false"},
        },
    }
    request = iam_evaluator.EvalContext(
        principal_arn="arn:aws:sts::1:assumed-role/a/b",
        principal_type="AssumedRole",
        principal_account="1",
        action="dynamodb:GetItem",
        resource_arn="arn:aws:dynamodb:us-east-1:1:table/records",
        region="us-east-1",
        service_context={"dynamodb:leadingkeys": keys} if keys else {},
    )
    policy = iam_evaluator.parse_policy_document({"Version": "2012-10-17", "Statement": [statement]})
    assert (iam_evaluator.evaluate(request, [policy]).decision == "Allow") is allowed
