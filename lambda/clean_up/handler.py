"""Remove what was created at run time when its stack is deleted: the function behind `Custom::MadeAtRunTime`.

CloudFormation calls it when the resource is created, updated and deleted. A deletion with the whole stack
removes everything; the rollback of a creation removes the page's files, which would keep their bucket and so
the stack. The response names what cannot be removed, and the next deletion of the stack continues from there.

A sweep may be repeated: it removes what it finds and returns what is still there. It removes first what could
make something new, then what is billed. It settles what that has cost, and then removes the rest.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from clean_up import job_resources, resources, table_records
from clean_up.resources import Remaining, attempt
from contracts import environment
from shared.aws import clients, custom_resource

log = Logger(service="clean_up")

Part = Literal["hosting", "everything"]
POLL_SECONDS = 3.0
_RESERVE_SECONDS = 20
"""Time reserved for the response to CloudFormation, which would wait for an hour otherwise."""
_ATTEMPTS_IF_DENIED = 3
"""A missing permission does not appear by waiting, but one that was just granted may."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Handle CloudFormation's request, and respond to it.

    Args:
        event: the request for a custom resource whose property `Part` is `hosting` (what the Chat stack
            makes, with its `PageBucket`) or `everything`.
        context: Lambda's.
    """
    part: Part = event["ResourceProperties"]["Part"]
    # The id never changes: with another one CloudFormation would delete "the resource before".
    physical_id = f"{environment.common().name}-{part}"
    try:
        reason = _remove(event, part, lambda: context.get_remaining_time_in_millis() / 1000)
    except Exception as error:  # without a response the deletion would hang for an hour
        log.exception("The clean-up failed")
        reason = f"The clean-up failed: {type(error).__name__}: {error}. Delete the stack again."
    custom_resource.respond(event, physical_id, reason)


def _remove(event: dict[str, Any], part: Part, seconds_left: Callable[[], float]) -> str:
    """Remove what must be removed; returns why not all of it is removed, or an empty text."""
    sweep = _sweep(event, part)
    passes = 0
    while remaining := sweep():
        passes += 1
        log.info("Not removed yet", extra={"remaining": [str(one) for one in remaining], "passes": passes})
        hopeless = all(one.refused for one in remaining) and passes >= _ATTEMPTS_IF_DENIED
        if hopeless or seconds_left() < _RESERVE_SECONDS + POLL_SECONDS:
            return _sentence(remaining)
        time.sleep(POLL_SECONDS)
    log.info("All is removed", extra={"part": part, "passes": passes})
    return ""


def _sweep(event: dict[str, Any], part: Part) -> Callable[[], list[Remaining]]:
    """Choose what to remove: nothing for an update, or for an update that is rolled back."""
    status = _stack_status(event["StackId"]) if event["RequestType"] == "Delete" else ""
    if part == "hosting":
        bucket = event["ResourceProperties"]["PageBucket"]
        if status == "ROLLBACK_IN_PROGRESS":  # of a creation; that of an update is UPDATE_ROLLBACK_…
            return partial(sweep_page, bucket)
        if status == "DELETE_IN_PROGRESS":
            return partial(sweep_hosting, bucket)
    elif status == "DELETE_IN_PROGRESS":
        return sweep_everything
    return list


def _stack_status(stack_id: str) -> str:
    (stack,) = clients.cloudformation().describe_stacks(StackName=stack_id)["Stacks"]
    return stack["StackStatus"]


def _sentence(remaining: list[Remaining]) -> str:
    return (
        f"Not removed: {'; '.join(str(one) for one in remaining)}. "
        "Delete the stack again, or run `storyloom destroy`: it continues from here."
    )


def sweep_hosting(page_bucket: str) -> list[Remaining]:
    """Remove what the Chat stack's functions create and watch, because nothing watches it afterwards.

    Runs are stopped as well, because a run may create an endpoint.

    Args:
        page_bucket: the bucket of the page's files.
    """
    return [
        *attempt("runs", resources.stop_runs),
        *attempt("transform jobs", partial(job_resources.stop_jobs, job_resources.TRANSFORM)),
        *attempt("the endpoint", resources.delete_endpoint_and_scaling),
        *attempt("API keys", table_records.revoke_keys),
        *sweep_page(page_bucket),
        *attempt("records in the table", table_records.end_active_records),
    ]


def sweep_page(page_bucket: str) -> list[Remaining]:
    """Remove the page's files and nothing else.

    Args:
        page_bucket: their bucket.
    """
    return attempt("the page's files", partial(resources.delete_page_files, page_bucket))


def sweep_everything() -> list[Remaining]:
    """Remove everything created at run time; CloudFormation deletes the stacks' own resources."""
    remaining = [
        *attempt("schedules", resources.delete_schedules),
        *attempt("runs", resources.stop_runs),
        *(
            one
            for kind in job_resources.KINDS
            for one in attempt(kind.plural, partial(job_resources.stop_jobs, kind))
        ),
        *attempt("the endpoint", resources.delete_endpoint_and_scaling),
    ]
    if remaining:
        # Active jobs still write logs, and use their models and configurations.
        return remaining
    unsettled = attempt("the ledger of the month", table_records.settle_jobs)
    if unsettled:
        # The cost of a deleted job can no longer be read.
        return unsettled
    return [
        *attempt("endpoint configurations", resources.delete_configurations),
        *attempt("models", resources.delete_models),
        *attempt("model packages", resources.delete_packages),
        *attempt("the endpoint's log", resources.delete_log),
        *(
            one
            for kind in job_resources.KINDS
            for one in attempt(f"logs of {kind.plural}", partial(job_resources.delete_logs, kind))
        ),
        *(
            one
            for kind in job_resources.KINDS
            for one in attempt(kind.plural, partial(job_resources.delete_jobs, kind))
        ),
        *attempt("records in the table", table_records.clear_package_references),
        *attempt("records in the table", table_records.end_active_records),
    ]
