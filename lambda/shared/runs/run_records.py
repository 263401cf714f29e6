"""Run records: what each run is doing, how it ended, and which run trained last."""

import hashlib
import secrets
from datetime import datetime
from typing import Any, NamedTuple

from boto3.dynamodb.conditions import Attr

from contracts import statuses, table_keys
from contracts.statuses import ACTIVE_RUN_STATUSES, RunStatus
from shared import clock, table
from shared.items import Run

_PARTITION = table_keys.RUNS
_ID_CHARACTERS = len("20261122-031640-ce3f")
_IS_ACTIVE = Attr("status").not_exists() | Attr("status").is_in(sorted(ACTIVE_RUN_STATUSES))
_LAST_TRAINING_KEY = table_keys.LAST_TRAINING


def new_id(at: datetime, seed: str | None = None) -> str:
    """Return a new run id, `YYYYMMDD-HHMMSS-xxxx` (UTC); the same seed and time give the same id."""
    tail = hashlib.sha256(seed.encode()).hexdigest()[:4] if seed else secrets.token_hex(2)
    return f"{at:%Y%m%d-%H%M%S}-{tail}"


def create_run(run_id: str, execution_arn: str, reason: str) -> bool:
    """Write a new run's record; returns False if the run already has one."""
    run = Run(
        run_id=run_id,
        status=statuses.RUNNING,
        step="Begin",
        message="Starting.",
        started_at=clock.stamp(),
        execution_arn=execution_arn,
        reason=reason,
    )
    return table.put(_PARTITION, run_id, run.model_dump(), only_if=Attr("pk").not_exists())


def enter(run_id: str, step: str, message: str | None = None, **fields: Any) -> None:
    """Record that a run has entered a state of the state machine, with other fields of its record.

    A run that was started by hand gets its record here. The record of a run that has ended does not change.
    """
    changes: dict[str, Any] = {"run_id": run_id, "status": statuses.RUNNING, "step": step, **fields}
    if message is not None:
        changes["message"] = message
    table.update(_PARTITION, run_id, changes, only_if=_IS_ACTIVE, if_absent={"started_at": clock.stamp()})


def mark_waiting(run_id: str, step: str, message: str, until: clock.Utc) -> None:
    """Record that a run waits for approval in this state, unless it has ended meanwhile."""
    changes = {"status": statuses.WAITING, "step": step, "message": message, "waits_until": until}
    table.update(_PARTITION, run_id, changes, only_if=_IS_ACTIVE)


def mark_running(run_id: str, message: str) -> None:
    """Record that a run no longer waits, unless its next state has recorded that already."""
    waiting = Attr("status").eq(statuses.WAITING)
    table.update(_PARTITION, run_id, {"status": statuses.RUNNING, "message": message}, only_if=waiting)


def finish(run_id: str, status: RunStatus, message: str, **fields: Any) -> bool:
    """Record how a run ended; returns False if it had ended before.

    A run that failed before its first state wrote its record gets it here.
    """
    now = clock.stamp()
    changes = {"run_id": run_id, "status": status, "message": message, "ended_at": now, **fields}
    return table.update(_PARTITION, run_id, changes, only_if=_IS_ACTIVE, if_absent={"started_at": now})


def reopen(run_id: str, execution_arn: str, step: str, reason: str) -> bool:
    """Record that a failed run continues in a new execution, whose name contains the attempt.

    Returns:
        False if the run did not fail, or has been resumed already.
    """
    changes: dict[str, Any] = {
        "status": statuses.RUNNING,
        "step": step,
        "message": f"Resuming where it failed: {reason}.",
        "execution_arn": execution_arn,
        "attempt": attempt_of(execution_arn),
        "can_resume": None,
        "failure": None,
        "ended_at": None,
        "announced_at": None,
    }
    return table.update(_PARTITION, run_id, changes, only_if=Attr("status").eq(statuses.FAILED))


def id_of(execution_name: str) -> str:
    """Return the id of the run that an execution belongs to; a resumed run has several executions."""
    return execution_name[:_ID_CHARACTERS]


def attempt_of(execution_arn: str) -> int:
    """Return the number of an execution within its run; the first is 1."""
    name = execution_arn.rpartition(":")[2]
    return int(name[_ID_CHARACTERS + 1 :] or 1)


def get(run_id: str) -> Run | None:
    """Read one run's record."""
    item = table.get(_PARTITION, run_id)
    return Run.model_validate(item) if item else None


def latest(limit: int = 50) -> list[Run]:
    """Read the newest runs, newest first."""
    return [Run.model_validate(item) for item in table.query_newest(_PARTITION, limit)]


def is_announced(run_id: str) -> bool:
    """Return whether the owner was notified of the end of this run."""
    item = table.get(_PARTITION, run_id)
    return item is not None and "announced_at" in item


def mark_announced(run_id: str) -> None:
    """Record that the owner was notified."""
    table.update(_PARTITION, run_id, {"announced_at": clock.stamp()})


class LastTraining(NamedTuple):
    """The last run that trained, and the digest of what it trained on."""

    run_id: str
    dataset_digest: str


def last_training() -> LastTraining | None:
    """Read which run trained last; None before the first."""
    item = table.get(*_LAST_TRAINING_KEY)
    return LastTraining(str(item["run_id"]), str(item["dataset_digest"])) if item else None


def record_training(run_id: str, dataset_digest: str) -> None:
    """Record that a run has trained a model and evaluated it."""
    table.update(*_LAST_TRAINING_KEY, {"run_id": run_id, "dataset_digest": dataset_digest})
