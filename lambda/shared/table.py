"""The app's DynamoDB table, through a client that takes plain values and condition objects."""

import random
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from boto3.dynamodb.conditions import ConditionBase, Key

from contracts import environment
from shared.aws import clients

Item = dict[str, Any]

_CONFLICT_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Waits before retries of a transaction that conflicted with another one."""


def storable(value: Any) -> Any:
    """Convert floats, which DynamoDB's client refuses, to decimals, also inside dicts and lists."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {name: storable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [storable(part) for part in value]
    return value


def get(pk: str, sk: str) -> Item | None:
    """Read one item, consistently; None if it does not exist."""
    answer = clients.dynamodb().get_item(TableName=_name(), Key={"pk": pk, "sk": sk}, ConsistentRead=True)
    return answer.get("Item")


def get_all(places: Sequence[tuple[str, str]]) -> list[Item | None]:
    """Read up to 100 items in one call, consistently; in the order of `places`, None for missing ones."""
    name = _name()
    requested: dict[str, Any] = {
        name: {"Keys": [{"pk": pk, "sk": sk} for pk, sk in places], "ConsistentRead": True}
    }
    found: dict[tuple[str, str], Item] = {}
    while requested:
        answer = clients.dynamodb().batch_get_item(RequestItems=requested)
        found |= {(str(item["pk"]), str(item["sk"])): item for item in answer["Responses"].get(name, [])}
        # DynamoDB may return fewer items than requested; its client has waited already if it was throttled.
        requested = answer.get("UnprocessedKeys") or {}
    return [found.get(place) for place in places]


def put(pk: str, sk: str, attributes: Mapping[str, Any], only_if: ConditionBase | None = None) -> bool:
    """Write one whole item; returns False if the condition is false."""
    item = {**storable(without_none(attributes)), "pk": pk, "sk": sk}
    return _conditionally("put_item", only_if, Item=item)


def update(
    pk: str,
    sk: str,
    changes: Mapping[str, Any],
    only_if: ConditionBase | None = None,
    if_absent: Mapping[str, Any] | None = None,
) -> bool:
    """Change some attributes of an item, and create the item if it does not exist.

    Args:
        pk: partition key.
        sk: sort key.
        changes: attributes to set; None removes the attribute.
        only_if: condition on the item as it is now.
        if_absent: attributes to set only if the item does not have them.

    Returns:
        False if the condition is false.
    """
    sets: list[str] = []
    removes: list[str] = []
    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    for number, (name, value) in enumerate(changes.items()):
        names[f"#c{number}"] = name
        if value is None:
            removes.append(f"#c{number}")
            continue
        sets.append(f"#c{number} = :c{number}")
        values[f":c{number}"] = storable(value)
    for number, (name, value) in enumerate((if_absent or {}).items()):
        names[f"#d{number}"] = name
        sets.append(f"#d{number} = if_not_exists(#d{number}, :d{number})")
        values[f":d{number}"] = storable(value)
    clauses = [f"SET {', '.join(sets)}"] * bool(sets) + [f"REMOVE {', '.join(removes)}"] * bool(removes)
    fields: dict[str, Any] = {
        "Key": {"pk": pk, "sk": sk},
        "UpdateExpression": " ".join(clauses),
        "ExpressionAttributeNames": names,
    }
    if values:
        fields["ExpressionAttributeValues"] = values
    return _conditionally("update_item", only_if, **fields)


def delete_item(pk: str, sk: str, only_if: ConditionBase | None = None) -> bool:
    """Delete one item; returns False if the condition is false."""
    return _conditionally("delete_item", only_if, Key={"pk": pk, "sk": sk})


def count_up(pk: str, sk: str) -> int:
    """Add one to a counter, atomically, and return its new value (1 the first time)."""
    return int(add(pk, sk, {"n": 1})["n"])


def add(
    pk: str,
    sk: str,
    additions: Mapping[str, int | set[str]],
    *,
    removals: Mapping[str, set[str]] | None = None,
    changes: Mapping[str, int] | None = None,
) -> Item:
    """Add to numbers and sets of an item in one atomic write, and create the item if it does not exist.

    Args:
        pk: partition key.
        sk: sort key.
        additions: what to add to a number or a set.
        removals: what to remove from sets.
        changes: numbers to set.

    Returns:
        The item after the write.
    """
    clauses: list[str] = []
    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    for verb, given, between in (("ADD", additions, " "), ("DELETE", removals, " "), ("SET", changes, " = ")):
        parts = []
        for name, value in (given or {}).items():
            number = len(names)
            names[f"#n{number}"], values[f":v{number}"] = name, value
            parts.append(f"#n{number}{between}:v{number}")
        clauses += [f"{verb} {', '.join(parts)}"] * bool(parts)
    answer = clients.dynamodb().update_item(
        TableName=_name(),
        Key={"pk": pk, "sk": sk},
        UpdateExpression=" ".join(clauses),
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
        ReturnValues="ALL_NEW",
    )
    return dict(answer["Attributes"])


def transact(operations: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[int]:
    """Write several items, all of them or none; a conflict with another transaction is retried.

    Args:
        operations: DynamoDB's own `{"Put" | "Update" | "Delete" | "ConditionCheck": {…}}` without the table's
            name. Conditions are text: boto3 turns condition objects into text for whole requests only.

    Returns:
        The positions of the operations whose condition is false; empty if everything was written.
    """
    name, client = _name(), clients.dynamodb()
    items: list[Any] = [
        {verb: {**fields, "TableName": name} for verb, fields in operation.items()}
        for operation in operations
    ]
    for seconds in (*_CONFLICT_SECONDS, None):
        try:
            client.transact_write_items(TransactItems=items)
        except client.exceptions.TransactionCanceledException as error:
            reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
            failed = [place for place, code in enumerate(reasons) if code == "ConditionalCheckFailed"]
            if failed:
                return failed
            if seconds is None or "TransactionConflict" not in reasons:
                raise
            _sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311 - spreads retries, guards nothing
        else:
            return []
    raise AssertionError("The last attempt either returns or raises.")


def query_newest(pk: str, limit: int, before: str = "") -> list[Item]:
    """Read up to `limit` items of a partition, greatest key first; with `before`, only smaller keys."""
    items: list[Item] = []
    wanted = Key("pk").eq(pk) & Key("sk").lt(before) if before else Key("pk").eq(pk)
    fields: dict[str, Any] = {"KeyConditionExpression": wanted, "ScanIndexForward": False}
    while len(items) < limit:
        answer = clients.dynamodb().query(TableName=_name(), Limit=limit - len(items), **fields)
        items += answer["Items"]
        if "LastEvaluatedKey" not in answer:
            break
        fields["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
    return items


def query(pk: str, since: str = "") -> list[Item]:
    """Read all items of a small partition; with `since`, only this sort key and greater ones."""
    items: list[Item] = []
    wanted = Key("pk").eq(pk) & Key("sk").gte(since) if since else Key("pk").eq(pk)
    fields: dict[str, Any] = {"KeyConditionExpression": wanted, "ConsistentRead": True}
    while True:
        answer = clients.dynamodb().query(TableName=_name(), **fields)
        items += answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return items
        fields["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def without_none(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the attributes that are None, because an absent attribute means the same."""
    return {name: value for name, value in attributes.items() if value is not None}


def _name() -> str:
    return environment.common().table


def _conditionally(operation: str, only_if: ConditionBase | None, **fields: Any) -> bool:
    if only_if is not None:
        fields["ConditionExpression"] = only_if
    client: Any = clients.dynamodb()
    try:
        getattr(client, operation)(TableName=_name(), **fields)
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True


_sleep = time.sleep
