"""Run records: what each run is doing, and how it ended."""

import hashlib
import secrets
from datetime import datetime
from typing import Any

from boto3.dynamodb.conditions import Attr

from contracts import table_keys
from shared import clock
from shared.table import table
from shared.table.items import GOING, Run, RunStatus

_PARTITION = table_keys.RUNS
_ID_CHARACTERS = len("20261122-031640-ce3f")
_GOING = Attr("status").not_exists() | Attr("status").is_in(sorted(GOING))


def new_id(at: datetime, seed: str | None = None) -> str:
    """Make a run id, `YYYYMMDD-HHMMSS-xxxx` (UTC); the same seed and time make the same id."""
    tail = hashlib.sha256(seed.encode()).hexdigest()[:4] if seed else secrets.token_hex(2)
    return f"{at:%Y%m%d-%H%M%S}-{tail}"


def create(run_id: str, execution_arn: str, reason: str) -> bool:
    """Write a new run's record; returns False where the run has one already."""
    run = Run(
        run_id=run_id,
        status="running",
        step="Begin",
        message="Starting.",
        started_at=clock.stamp(),
        execution_arn=execution_arn,
        reason=reason,
    )
    return table.put(_PARTITION, run_id, run.model_dump(), only_if=Attr("pk").not_exists())


def enter(run_id: str, step: str, message: str | None = None, **fields: Any) -> None:
    """Record that a run is in this state of the state machine now, with whatever else is known of it.

    A run that somebody started by hand gets its record here. One that has ended stays ended.
    """
    changes: dict[str, Any] = {"run_id": run_id, "status": "running", "step": step, **fields}
    if message is not None:
        changes["message"] = message
    table.update(_PARTITION, run_id, changes, only_if=_GOING, if_absent={"started_at": clock.stamp()})


def wait(run_id: str, step: str, message: str, until: clock.Utc) -> None:
    """Record that a run waits in this state for somebody's answer; it may have ended meanwhile."""
    changes = {"status": "waiting", "step": step, "message": message, "waits_until": until}
    table.update(_PARTITION, run_id, changes, only_if=_GOING)


def resume(run_id: str, message: str) -> None:
    """Record that a run waits no more, unless its next state has said so already."""
    waiting = Attr("status").eq("waiting")
    table.update(_PARTITION, run_id, {"status": "running", "message": message}, only_if=waiting)


def finish(run_id: str, status: RunStatus, message: str, **fields: Any) -> bool:
    """Record how a run ended; returns False where it had ended before.

    One that failed before its first state could write the record gets it here.
    """
    now = clock.stamp()
    changes = {"run_id": run_id, "status": status, "message": message, "ended_at": now, **fields}
    return table.update(_PARTITION, run_id, changes, only_if=_GOING, if_absent={"started_at": now})


def reopen(run_id: str, execution_arn: str, step: str, reason: str) -> bool:
    """Record that a run that failed goes on in a new execution, which is named by its attempt.

    Returns False if it did not fail, or goes on already.
    """
    changes: dict[str, Any] = {
        "status": "running",
        "step": step,
        "message": f"Going on where it failed: {reason}.",
        "execution_arn": execution_arn,
        "attempt": attempt_of(execution_arn),
        "can_resume": None,
        "failure": None,
        "ended_at": None,
        "announced_at": None,
    }
    return table.update(_PARTITION, run_id, changes, only_if=Attr("status").eq("failed"))


def id_of(execution_name: str) -> str:
    """Return the run that an execution belongs to; a run that was resumed has several."""
    return execution_name[:_ID_CHARACTERS]


def attempt_of(execution_arn: str) -> int:
    """Return which execution of its run this is; the first is number 1."""
    name = execution_arn.rpartition(":")[2]
    return int(name[_ID_CHARACTERS + 1 :] or 1)


def get(run_id: str) -> Run | None:
    """Read one run's record."""
    item = table.get(_PARTITION, run_id)
    return Run.model_validate(item) if item else None


def latest(limit: int = 50) -> list[Run]:
    """Read the newest runs, newest first."""
    return [Run.model_validate(item) for item in table.newest(_PARTITION, limit)]


def is_announced(run_id: str) -> bool:
    """Whether the owner was told how this run ended."""
    item = table.get(_PARTITION, run_id)
    return item is not None and "announced_at" in item


def mark_announced(run_id: str) -> None:
    """Note that the owner was told."""
    table.update(_PARTITION, run_id, {"announced_at": clock.stamp()})
