"""Removes what was made at run time when its stack is deleted: the function behind `Custom::MadeAtRunTime`.

CloudFormation calls it when the resource is made, changed and deleted. A deletion with the whole stack
removes everything; the rollback of a creation removes the page's files, which would keep their bucket and so
the stack. What cannot be removed is named in the answer, and the next deletion of the stack goes on from
there.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from clean_up import removal
from clean_up.remaining import Remaining
from contracts import environment
from shared.aws import clients, custom_resource

log = Logger(service="clean_up")

Part = Literal["hosting", "everything"]
POLL_SECONDS = 3.0
_RESERVE_SECONDS = 20
"""Kept of the function's time to answer CloudFormation, which would wait for an hour otherwise."""
_ATTEMPTS_AT_A_REFUSAL = 3
"""A permission that is missing does not come by waiting; one that was just granted may."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Answer CloudFormation's request.

    Args:
        event: of a custom resource whose property `Part` is `hosting` (what the Chat stack makes, with its
            `PageBucket`) or `everything`.
        context: Lambda's.
    """
    part: Part = event["ResourceProperties"]["Part"]
    # Always the same id: another one would have CloudFormation delete "the resource before".
    physical_id = f"{environment.common().name}-{part}"
    try:
        reason = _remove(event, part, lambda: context.get_remaining_time_in_millis() / 1000)
    except Exception as error:  # without an answer the deletion would hang for an hour
        log.exception("The clean-up failed")
        reason = f"The clean-up failed: {type(error).__name__}: {error}. Delete the stack again."
    custom_resource.respond(event, physical_id, reason)


def _remove(event: dict[str, Any], part: Part, seconds_left: Callable[[], float]) -> str:
    """Remove what is to go; returns why not all of it is gone, or an empty text."""
    sweep = _sweep(event, part)
    passes = 0
    while remaining := sweep():
        passes += 1
        log.info("Not gone yet", extra={"remaining": [str(one) for one in remaining], "passes": passes})
        hopeless = all(one.refused for one in remaining) and passes >= _ATTEMPTS_AT_A_REFUSAL
        if hopeless or seconds_left() < _RESERVE_SECONDS + POLL_SECONDS:
            return _sentence(remaining)
        time.sleep(POLL_SECONDS)
    log.info("All is gone", extra={"part": part, "passes": passes})
    return ""


def _sweep(event: dict[str, Any], part: Part) -> Callable[[], list[Remaining]]:
    """Choose what is removed: an update, or one that is rolled back, must not touch what was made."""
    status = _stack_status(event["StackId"]) if event["RequestType"] == "Delete" else ""
    if part == "hosting":
        bucket = event["ResourceProperties"]["PageBucket"]
        if status == "ROLLBACK_IN_PROGRESS":  # of a creation; that of an update is UPDATE_ROLLBACK_…
            return partial(removal.sweep_page, bucket)
        if status == "DELETE_IN_PROGRESS":
            return partial(removal.sweep_hosting, bucket)
    elif status == "DELETE_IN_PROGRESS":
        return removal.sweep_everything
    return list


def _stack_status(stack_id: str) -> str:
    (stack,) = clients.cloudformation().describe_stacks(StackName=stack_id)["Stacks"]
    return stack["StackStatus"]


def _sentence(remaining: list[Remaining]) -> str:
    return (
        f"Not removed: {'; '.join(str(one) for one in remaining)}. "
        "Delete the stack again, or run `storyloom destroy`: it goes on from here."
    )
