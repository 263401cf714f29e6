"""DynamoDB's condition key `dynamodb:LeadingKeys`, which MiniStack does not provide.

Without it every policy that names partitions would allow all of them: `ForAllValues` holds for a missing key.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ministack.core import iam_actions
from ministack.services import dynamodb

Json = dict[str, Any]
_EQUALS = re.compile(r"(?P<name>[#\w]+)\s*=\s*(?P<value>:\w+)")
_ITEM_ACTIONS = ("Put", "Update", "Delete", "Get", "ConditionCheck")


def install() -> None:
    """Provide each request's partition keys to IAM, as AWS does."""
    known = iam_actions.dynamodb_service_context

    def with_leading_keys(body: bytes) -> Json:
        context: Json = known(body)
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            return context
        keys = sorted(set(leading_keys(request))) if isinstance(request, dict) else []
        return {**context, "dynamodb:LeadingKeys": keys} if keys else context

    iam_actions.dynamodb_service_context = with_leading_keys


def leading_keys(request: Json) -> Iterator[str]:
    """Yield the partition keys of all items that a request reads or writes.

    For a transaction these are the keys of all its items, though AWS authorizes one item after the other: a
    caller who lacks one of the partitions is refused the whole transaction in both cases.
    """
    if "TableName" in request:
        yield from _of_items(request["TableName"], [request.get("Key"), request.get("Item")])
        yield from _of_query(request)
    for table, asked in (request.get("RequestItems") or {}).items():
        if isinstance(asked, list):  # BatchWriteItem
            yield from _of_items(table, (_written(entry) for entry in asked))
        else:
            yield from _of_items(table, asked.get("Keys") or [])
    for entry in request.get("TransactItems") or []:
        for action in _ITEM_ACTIONS:
            part = entry.get(action)
            if isinstance(part, dict):
                yield from _of_items(str(part.get("TableName")), [part.get("Key"), part.get("Item")])


def _written(entry: Json) -> Json | None:
    put, delete = entry.get("PutRequest") or {}, entry.get("DeleteRequest") or {}
    return put.get("Item") or delete.get("Key")


def _of_items(table: str, items: Iterable[Json | None]) -> Iterator[str]:
    name = _partition_key(table)
    for item in items:
        if isinstance(item, dict) and isinstance(item.get(name), dict):
            yield from map(str, item[name].values())


def _of_query(request: Json) -> Iterator[str]:
    """Yield the value that a query compares the partition key with, also an index's."""
    partition = _partition_key(request["TableName"], request.get("IndexName"))
    names = request.get("ExpressionAttributeNames") or {}
    values = request.get("ExpressionAttributeValues") or {}
    for found in _EQUALS.finditer(request.get("KeyConditionExpression") or ""):
        if names.get(found["name"], found["name"]) == partition:
            yield from map(str, (values.get(found["value"]) or {}).values())


def _partition_key(table: str, index: str | None = None) -> str:
    definition = dynamodb._tables.get(table.rpartition("/")[2]) or {}
    for one in definition.get("GlobalSecondaryIndexes") or []:
        if index is not None and one.get("IndexName") == index:
            definition = one
    for part in definition.get("KeySchema") or []:
        if part.get("KeyType") == "HASH":
            return str(part["AttributeName"])
    return ""
