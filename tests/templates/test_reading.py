"""A file that ends the function that reads it does not end the run."""

from typing import Any

import pytest


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    "error",
    ["Runtime.OutOfMemory", "Runtime.ExitError", "Sandbox.Timedout", "Lambda.Unknown", "States.Timeout"],
)
def test_a_batch_that_ends_its_function_in_any_way_is_tried_again_and_then_divided(
    states: dict[str, Any], error: str
) -> None:
    inside = states["Read"]["ItemProcessor"]["States"]
    read, alone = inside["ReadBatch"], inside["ReadEachAlone"]["ItemProcessor"]["States"]["ReadAlone"]
    for state, then in ((read, "DivideBatch"), (alone, "RejectFile")):
        assert any(error in retry["ErrorEquals"] for retry in state["Retry"])
        assert [catch["Next"] for catch in state["Catch"] if error in catch["ErrorEquals"]] == [then]


def test_what_is_not_a_files_fault_is_not_laid_at_its_door(states: dict[str, Any]) -> None:
    """An exception of the function, such as of a bucket that refuses it, fails the run with its reason."""
    inside = states["Read"]["ItemProcessor"]["States"]
    caught = {error for catch in inside["ReadBatch"]["Catch"] for error in catch["ErrorEquals"]}
    assert not caught & {"States.ALL", "States.TaskFailed"}


def test_a_batch_that_is_not_finished_is_called_again(states: dict[str, Any]) -> None:
    inside = states["Read"]["ItemProcessor"]["States"]
    assert inside["ReadBatch"]["Next"] == "IsBatchFinished"
    [again] = inside["IsBatchFinished"]["Choices"]
    assert again == {"Variable": "$.read.finished", "BooleanEquals": False, "Next": "ReadBatch"}
