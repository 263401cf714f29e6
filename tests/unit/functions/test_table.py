"""Calls of the table that do more than pass values on."""

from typing import Any

import pytest

from shared import table
from shared.aws import clients
from tests.unit.functions.conftest import DeployedResources


def test_items_read_together_keep_the_requested_order(resources: DeployedResources) -> None:
    table.put("POINTERS", "LIVE", {"version": "v1"})
    table.put("HOSTING", "STATE", {"status": "awake"})
    state, nothing, live = table.get_all([("HOSTING", "STATE"), ("MODELS", "v7"), ("POINTERS", "LIVE")])
    assert (state, nothing, live) == (
        {"pk": "HOSTING", "sk": "STATE", "status": "awake"},
        None,
        {"pk": "POINTERS", "sk": "LIVE", "version": "v1"},
    )


def test_items_that_dynamodb_did_not_return_are_requested_again(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.put("POINTERS", "LIVE", {"version": "v1"})
    table.put("HOSTING", "STATE", {"status": "awake"})
    whole: Any = clients.dynamodb().batch_get_item
    calls: list[int] = []

    def one_at_a_time(RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3 names it so
        ((name, asked),) = RequestItems.items()
        first, *rest = asked["Keys"]
        calls.append(len(asked["Keys"]))
        answer = whole(RequestItems={name: {**asked, "Keys": [first]}})
        return {**answer, "UnprocessedKeys": {name: {**asked, "Keys": rest}} if rest else {}}

    monkeypatch.setattr(clients.dynamodb(), "batch_get_item", one_at_a_time)
    state, live = table.get_all([("HOSTING", "STATE"), ("POINTERS", "LIVE")])
    assert (state is not None, live is not None, calls) == (True, True, [2, 1])


@pytest.mark.aws_fact
def test_a_conflicting_transaction_is_retried(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(table, "_sleep", waits.append)
    client = clients.dynamodb()
    real, reasons = client.transact_write_items, ["TransactionConflict", "TransactionConflict"]

    def meet(**fields: Any) -> Any:
        if reasons:
            told: Any = {
                "Error": {"Code": "TransactionCanceledException", "Message": "Transaction cancelled"},
                "CancellationReasons": [{"Code": reasons.pop()}],
            }
            raise client.exceptions.TransactionCanceledException(told, "TransactWriteItems")
        return real(**fields)

    monkeypatch.setattr(client, "transact_write_items", meet)
    put = {"Item": {"pk": "P", "sk": "S", "n": 1}, "ConditionExpression": "attribute_not_exists(pk)"}
    assert table.transact([{"Put": put}]) == []
    assert len(waits) == 2
    assert table.transact([{"Put": {"Item": {"pk": "P", "sk": "T"}}}, {"Put": put}]) == [1]
    assert table.get("P", "T") is None, "all of it or nothing"
