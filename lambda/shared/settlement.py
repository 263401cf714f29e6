"""Settle the reservations of jobs that have ended, and find jobs that have no reservation."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from contracts import environment, resource_names
from shared import clock
from shared.aws import clients
from shared.batch_inference import batch_records
from shared.runs import run_records
from shared.spending import job_costs, ledger
from shared.spending.job_costs import Billed, Underway
from shared.spending.ledger import Kind, OpenReservation

log = Logger(service="settling")

_STARTING = timedelta(minutes=20)
"""How long a reservation may exist before its job."""
_LOOK_BACK = timedelta(days=2)
"""The greatest age of a job without a reservation that is still found."""
_RUN_ID = re.compile(resource_names.RUN_ID)
_REFUSALS = ("AccessDenied", "AccessDeniedException")


def settle_ended_jobs() -> None:
    """Settle every reservation whose job has ended, and add jobs that the ledger does not have."""
    for held in ledger.open_reservations():
        try:
            _settle(held)
        except ClientError:
            # A job that cannot be described now must not keep the others from being settled.
            log.exception("Could not describe a job", extra={"kind": held.kind, "job": held.id})
    _add_missing_jobs()


def settle_all() -> list[str]:
    """Settle every reservation before the jobs are deleted, because a deleted job cannot be described.

    If describing a job is denied, the whole reservation counts as its cost. If a job does not exist, its
    reservation is released: it never began and no longer will.

    Returns:
        The names of the jobs that have not ended yet.
    """
    _add_missing_jobs()
    running = []
    for held in ledger.open_reservations():
        try:
            cost = job_costs.cost_of_job(held.kind, held.id)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _REFUSALS:
                raise
            log.warning("The cost of a job cannot be read", extra={"job": held.id, "error": str(error)})
            ledger.settle(held.kind, held.id, ledger.to_usd(held.spent + held.reserved))
            continue
        if isinstance(cost, Underway):
            running.append(held.id)
        elif cost == "missing":
            ledger.release_reservation(held.kind, held.id)
        else:
            _settle_billed(held.kind, held.id, cost)
    return running


def _settle(held: OpenReservation) -> None:
    cost = job_costs.cost_of_job(held.kind, held.id)
    if isinstance(cost, Billed):
        _settle_billed(held.kind, held.id, cost)
    elif cost == "missing" and _is_abandoned(held):
        ledger.release_reservation(held.kind, held.id)


def _settle_billed(kind: Kind, id_: str, cost: Billed) -> None:
    ledger.settle(kind, id_, cost.usd, started_at=cost.started_at, ended_at=cost.ended_at)


def _is_abandoned(held: OpenReservation) -> bool:
    """Return whether the reserved job will never be created."""
    if clock.now() - clock.instant(held.reserved_at) < _STARTING:
        return False
    if held.kind == "batch":
        batch = batch_records.get(held.id)
        return batch is None or not batch.is_active
    named = _RUN_ID.search(held.id)
    run = run_records.get(named[0]) if named else None
    return run is None or not run.is_active


def _add_missing_jobs() -> None:
    for kind, id_ in _recent_jobs():
        if ledger.open_reservation(kind, id_) is None and not ledger.is_settled(kind, id_):
            _add_missing_job(kind, id_)


def _add_missing_job(kind: Kind, id_: str) -> None:
    """Add a job to the ledger that was started by hand, or before there was a ledger."""
    cost = job_costs.cost_of_job(kind, id_)
    if cost == "missing":
        return
    log.warning("Found a job without a reservation", extra={"kind": kind, "job": id_})
    if isinstance(cost, Underway):
        batch = batch_records.get(id_) if kind == "batch" else None
        most = cost.most_usd or (batch.cost_at_most_usd if batch else None) or 0.0
        ledger.reserve(kind, id_, cost.instance, most, limited=False)
        return
    held = ledger.reserve(kind, id_, "unknown", 0.0, limited=False)
    if held is not None:
        _settle_billed(kind, id_, cost)


def _recent_jobs() -> Iterator[tuple[Kind, str]]:
    """Yield the kind and the ledger's id of each recent job of this app."""
    names = environment.common().names
    batches = names.transform_job("")
    kinds: tuple[tuple[Kind, str, str, str], ...] = (
        ("training", "list_training_jobs", "TrainingJob", names.training_job("")),
        ("evaluation", "list_processing_jobs", "ProcessingJob", names.evaluation_job("")),
        ("batch", "list_transform_jobs", "TransformJob", batches),
    )
    for kind, operation, member, prefix in kinds:
        for found in _listed(operation, f"{member}Summaries", prefix):
            job = str(found[f"{member}Name"])
            if resource_names.is_job(job, [prefix]):
                yield kind, job.removeprefix(batches) if kind == "batch" else job


def _listed(operation: str, result: str, prefix: str) -> Iterator[dict[str, Any]]:
    client: Any = clients.sagemaker()
    since = clock.now() - _LOOK_BACK
    for page in client.get_paginator(operation).paginate(NameContains=prefix, CreationTimeAfter=since):
        yield from page[result]
