"""One pass over everything made at run time, in the order in which it has to go.

A pass may be repeated: it removes what it finds and returns what is still there. First goes what could make
something new, then what bills. What that has cost is settled, and then what is left of it goes.
"""

from functools import partial

from clean_up import (
    hosting_resources,
    job_resources,
    kept_records,
    model_registry,
    page_files,
    runs_and_timers,
)
from clean_up.remaining import Remaining, attempt


def sweep_hosting(page_bucket: str) -> list[Remaining]:
    """Remove what the Chat stack's functions make and watch, because nothing watches an endpoint afterwards.

    Runs are stopped as well, because a run may bring up an endpoint.

    Args:
        page_bucket: holds the page's files.
    """
    return [
        *attempt("runs", runs_and_timers.stop_runs),
        *attempt("transform jobs", partial(job_resources.stop_jobs, job_resources.TRANSFORM)),
        *attempt("the endpoint", hosting_resources.delete_endpoint),
        *attempt("API keys", kept_records.revoke_keys),
        *sweep_page(page_bucket),
        *attempt("records in the table", kept_records.end_what_is_in_progress),
    ]


def sweep_page(page_bucket: str) -> list[Remaining]:
    """Remove the page's files and nothing else.

    Args:
        page_bucket: holds them.
    """
    return attempt("the page's files", partial(page_files.empty, page_bucket))


def sweep_everything() -> list[Remaining]:
    """Remove everything made at run time; the stacks' own resources are CloudFormation's to delete."""
    remaining = [
        *attempt("timers", runs_and_timers.delete_timers),
        *attempt("runs", runs_and_timers.stop_runs),
        *(
            one
            for kind in job_resources.KINDS
            for one in attempt(kind.plural, partial(job_resources.stop_jobs, kind))
        ),
        *attempt("the endpoint", hosting_resources.delete_endpoint),
    ]
    if remaining:
        # What is at work still writes logs, and uses its model and configuration.
        return remaining
    unsettled = attempt("the ledger of the month", kept_records.settle_jobs)
    if unsettled:
        # A job that is deleted can no longer say what it has cost.
        return unsettled
    return [
        *attempt("endpoint configurations", hosting_resources.delete_configurations),
        *attempt("models", hosting_resources.delete_models),
        *attempt("model packages", model_registry.delete_packages),
        *attempt("the endpoint's log", hosting_resources.delete_log),
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
        *attempt("records in the table", kept_records.forget_packages),
        *attempt("records in the table", kept_records.end_what_is_in_progress),
    ]
