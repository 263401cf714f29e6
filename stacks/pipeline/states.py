"""Building blocks of the definition: what every state of one kind has in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from stacks.functions.function import Function
from stacks.pipeline.state_functions import FUNCTION_SECONDS

State = dict[str, Any]
"""One state in Amazon States Language."""

RUN = {"run_id.$": "$.run_id"}
"""The part of the event that every function gets."""

RETRY_LAMBDA = [
    # What Lambda returns while it is busy or changing: the function has not run then, or may run again.
    {
        "ErrorEquals": [
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
        ],
        "IntervalSeconds": 2,
        "MaxAttempts": 6,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    },
    # A new account may run ten functions at once, so a batch may wait until earlier ones are read. Half a
    # minute on average between attempts is enough for the longest batches, ten at a time.
    {
        "ErrorEquals": ["Lambda.TooManyRequestsException"],
        "IntervalSeconds": 2,
        "MaxAttempts": 500,
        "BackoffRate": 2,
        "MaxDelaySeconds": 60,
        "JitterStrategy": "FULL",
    },
]
"""When a task that calls a function is retried."""

CATCH = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "RecordFailure"}]
"""The Catch of every state: any error leads to `RecordFailure`."""

_INVOCATION_SECONDS = 60  # for Lambda to start the function


class FunctionTasks:
    """Writes the states that call functions."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        """Take the functions by name: those of `FUNCTION_SECONDS`."""
        self._functions = functions

    def call(self, function: str, payload: Mapping[str, Any], result_path: str | None, then: str) -> State:
        """Call a function, with retries and the Catch of every state.

        Args:
            function: its name.
            payload: its event.
            result_path: where its result goes; None discards it.
            then: the next state.
        """
        return {
            "Type": "Task",
            "Resource": self.arn(function),
            "Parameters": payload,
            "ResultPath": result_path,
            "TimeoutSeconds": task_timeout_seconds(function),
            "Retry": RETRY_LAMBDA,
            "Catch": CATCH,
            "Next": then,
        }

    def arn(self, function: str) -> str:
        """Return the ARN of a function."""
        return self._functions[function].arn


def task_timeout_seconds(function: str) -> int:
    """Return the timeout of a task: the function's own, and a minute for Lambda to start it."""
    return FUNCTION_SECONDS[function] + _INVOCATION_SECONDS


def choice(condition: Mapping[str, Any], yes: str, no: str) -> State:
    """Go to one state if a condition holds, otherwise to another."""
    return {"Type": "Choice", "Choices": [{**condition, "Next": yes}], "Default": no}


def choice_of(variable: str, states: Mapping[str, str], default: str) -> State:
    """Go to the state that belongs to a variable's value.

    Args:
        variable: its path.
        states: the next states by value.
        default: the next state for any other value.
    """
    choices = [
        {"Variable": variable, "StringEquals": value, "Next": state} for value, state in states.items()
    ]
    return {"Type": "Choice", "Choices": choices, "Default": default}


def catch_all(result_path: str | None, then: str) -> list[State]:
    """Continue after any error, in a state whose failure does not fail the run.

    Args:
        result_path: where the error goes; None discards it.
        then: the next state.
    """
    return [{"ErrorEquals": ["States.ALL"], "ResultPath": result_path, "Next": then}]


def catch_first(errors: Sequence[str], then: str) -> list[State]:
    """Catch some errors in a state of their own, and all others like every state."""
    return [{"ErrorEquals": list(errors), "ResultPath": "$.failure", "Next": then}, *CATCH]


def ending(outcome: str, message: Mapping[str, str]) -> State:
    """End the run without a failure: `Announce` gets the outcome and the reason.

    Args:
        outcome: status of the run, such as `succeeded`.
        message: `{"message": text}`, or `{"message.$": path}` if it is in the execution's data.
    """
    return {
        "Type": "Pass",
        "Parameters": {"outcome": outcome, **message},
        "ResultPath": "$.ending",
        "Next": "Announce",
    }
