"""The states that ask the owner before any money is spent, where `ask_before_training` is on."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Aws

from stacks.functions.functions import Function
from stacks.pipeline.states import choice, ending

APPROVAL_DAYS = 7
"""How long a run waits for somebody's yes before it ends by itself."""
APPROVAL_SECONDS = APPROVAL_DAYS * 24 * 60 * 60

_NOTHING_SPENT = "nothing was trained and nothing was spent on a GPU"
_DECLINED = f"Declined: {_NOTHING_SPENT}. Your stories are untouched."
_SUPERSEDED = (
    f"Stories arrived while this run waited for a yes, so it made room: {_NOTHING_SPENT}. "
    "A run with all of them starts by itself, and asks again."
)
_NO_ANSWER = (
    f"Nobody said yes within {APPROVAL_DAYS} days, so the run ended: {_NOTHING_SPENT}. "
    "Your stories are untouched. Add one, or start a run by hand, to be asked again."
)


def approval_states(
    ask: Function, *, then: str, retry: Sequence[dict[str, Any]], catch: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Make the states from `TrainAtOnce`, which comes after `EnoughText`, to the yes.

    One machine serves both settings: `Assemble` says in its result whether to ask.

    Args:
        ask: the function that asks.
        then: state after the yes.
        retry: what a function's state is retried for.
        catch: the one failure path.
    """
    asks_nobody = {"Variable": "$.assembled.ask_before_training", "BooleanEquals": False}
    return {
        "TrainAtOnce": choice(asks_nobody, then, "AwaitApproval"),
        "AwaitApproval": {
            "Type": "Task",
            "Resource": f"arn:{Aws.PARTITION}:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {
                "FunctionName": ask.arn,
                "Payload": {
                    "run_id.$": "$.run_id",
                    "task_token.$": "$$.Task.Token",
                    "days": APPROVAL_DAYS,
                    "verdict.$": "$.assembled.message",
                    "estimate.$": "$.assembled.estimate",
                },
            },
            "ResultPath": "$.approval",
            "TimeoutSeconds": APPROVAL_SECONDS,
            "Retry": retry,
            "Catch": [{"ErrorEquals": ["States.Timeout"], "ResultPath": None, "Next": "NoAnswer"}, *catch],
            "Next": "Approved",
        },
        "Approved": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.approval.answer", "StringEquals": answer, "Next": state}
                for answer, state in (("approved", then), ("declined", "Declined"))
            ],
            "Default": "Superseded",
        },
        "Declined": ending("declined", {"message": _DECLINED}),
        "Superseded": ending("superseded", {"message": _SUPERSEDED}),
        "NoAnswer": ending("stopped_early", {"message": _NO_ANSWER}),
    }
