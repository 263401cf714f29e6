"""Step Functions' hard limits, which MiniStack does not have.

What goes into a state or comes out of it has at most 256 KiB, even if its ResultPath throws it away; an
execution has at most 25,000 events. Beyond either the execution ends, in spite of its Catch.
"""

import json
from collections.abc import Callable
from typing import Any

from ministack.services import stepfunctions as states

from local.aws.step_functions.executions import Json, TaskError

LONGEST_PAYLOAD_BYTES = 256 * 1024
MOST_EVENTS = 25_000


class HistoryFullError(TaskError):
    """The execution has the maximum number of events."""

    def __init__(self) -> None:
        super().__init__(
            "States.Runtime", "The execution reached the maximum number of history events (25000)."
        )


def enforce_limits() -> None:
    """Refuse payloads and histories that are larger than AWS takes."""
    _limit_tasks()
    _limit_outputs()
    _limit_histories()


def check_payload(payload: Any, what: str) -> None:
    """Raise `TaskError` if a state's input or output is too large.

    Args:
        payload: as JSON.
        what: begins the sentence, such as `The state 'Read'`.
    """
    size = len(json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode())
    if size > LONGEST_PAYLOAD_BYTES:
        raise TaskError(
            "States.DataLimitExceeded",
            f"{what} with a size exceeding the maximum number of bytes service limit.",
        )


def _limit_tasks() -> None:
    invoke = states._invoke_resource

    def invoke_resource(resource: str, content: Json) -> Any:
        check_payload(content, f"The state/task '{resource}' was given an input")
        result = invoke(resource, content)
        check_payload(result, f"The state/task '{resource}' returned a result")
        return result

    states._invoke_resource = invoke_resource


def _limit_outputs() -> None:
    def limited(execute: Callable[..., Any]) -> Callable[..., Any]:
        def execute_state(state: Json, *rest: Any) -> Any:
            output, following = execute(state, *rest)
            check_payload(output, f"The state '{state['Type']}' returned an output")
            return output, following

        return execute_state

    for name in ("_execute_pass", "_execute_task", "_execute_map", "_execute_parallel"):
        setattr(states, name, limited(getattr(states, name)))


def _limit_histories() -> None:
    add = states._add_event

    def add_event(record: Json, kind: str, details: Any = None) -> None:
        last = kind.startswith("Execution")
        if not last and len(record["events"]) >= MOST_EVENTS - 1:
            raise HistoryFullError
        add(record, kind, details)

    states._add_event = add_event
