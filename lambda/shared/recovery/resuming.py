"""Finds where a failed run can be resumed: the state that failed, with what the run had made until then."""

import json
from typing import Any, NamedTuple

from shared.aws import clients

# A failed state, and where a run goes on after it. What comes before is not paid for and has no result worth
# keeping; a deployment that failed at any place begins again with the bundle.
_RESUMES_AT = {
    "StageBaseModel": "Preflight",
    "Reserve": "Preflight",
    "Train": "Preflight",
    "Tune": "Preflight",
    "ChooseBest": "ChooseBest",
    "Evaluate": "Evaluate",
    "Gate": "Gate",
    "Register": "Register",
    "Deploy": "Deploy",
    "WaitForEndpoint": "Deploy",
    "SmokeTest": "Deploy",
}
STATES = tuple(dict.fromkeys(_RESUMES_AT.values()))
"""States at which a resumed run can enter the state machine."""
_AFTER_A_FAILURE = frozenset(
    {"TrainAgain", "EvaluateAgain", "BeforeNextAttempt", "NextAttempt", "RecordFailure", "Failed"}
)
_KEPT = ("assembled", "trained", "gate", "registered")
_EVENTS_A_CALL = 100


class FailedState(NamedTuple):
    """A state that failed, and how its run goes on."""

    name: str
    resumes_at: str
    kept: dict[str, Any]
    """The results of the states before it, by their place in the state machine's data."""


def failed_state(execution_arn: str) -> FailedState | None:
    """Read where an execution failed; None if it cannot be resumed there, or its history is gone.

    Step Functions keeps the history for 90 days after the execution's end.
    """
    client = clients.stepfunctions()
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn,
        reverseOrder=True,
        PaginationConfig={"PageSize": _EVENTS_A_CALL},
    )
    try:
        for page in pages:
            for event in page["events"]:
                entered = event.get("stateEnteredEventDetails")
                if entered is None or entered["name"] in _AFTER_A_FAILURE:
                    continue
                return _failed(entered["name"], json.loads(entered.get("input") or "{}"))
    except client.exceptions.ExecutionDoesNotExist:
        return None
    return None


def _failed(name: str, given: dict[str, Any]) -> FailedState | None:
    at = _RESUMES_AT.get(name)
    if at is None:
        return None
    return FailedState(name, at, {key: given[key] for key in _KEPT if key in given})


def command(run_id: str) -> str:
    """Return the command that resumes a failed run."""
    return f"storyloom start --from {run_id}"
