"""Records of batches: each is a file of prompts, one a line, that one SageMaker transform job answers.

A record has the status of its batch. It is written before anything that is billed is created. Every change is
conditional on the status that it was decided from, so that a start, a stop and a tick of the endpoint manager
at the same time agree on one outcome. The ids of active batches are a set in an item of their own, which one
atomic write both changes and counts.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from contracts import statuses, table_keys
from contracts.statuses import BatchStatus
from shared import clock, table
from shared.items import BatchJob
from shared.runs import run_records

AT_ONCE = 2
"""How many batches may be active at the same time, for all people together."""
_PARTITION = table_keys.BATCHES
_ACTIVE_KEY = table_keys.ACTIVE_BATCHES
_LISTED = 50
_KEPT = timedelta(days=60)
"""Longer than the 30 days of their files, because the month's costs refer to the records."""


def create_record(
    *, owner: str, created_by: str, name: str, model: str, max_tokens: int, instance: str
) -> BatchJob:
    """Create the record of a new batch, which waits for its file."""
    now = clock.now()
    batch = BatchJob(
        batch_id=run_records.new_id(now),
        status=statuses.UPLOADING,
        owner=owner,
        created_by=created_by,
        created_at=clock.text(now),
        since=clock.text(now),
        name=name,
        model=model,
        max_tokens=max_tokens,
        instance=instance,
        message="Waits for its file.",
        expires_at=int((now + _KEPT).timestamp()),
    )
    fields = batch.model_dump()
    table.update(_PARTITION, batch.batch_id, fields, only_if=Attr("pk").not_exists())
    # An index by owner, because reading everybody's batches takes seconds once there are thousands.
    table.put(_of_owner(owner), batch.batch_id, {"expires_at": batch.expires_at})
    return batch


def get(batch_id: str) -> BatchJob | None:
    """Read one batch."""
    item = table.get(_PARTITION, batch_id)
    return BatchJob.model_validate(item) if item else None


def list_by_owner(owner: str) -> list[BatchJob]:
    """Read up to 50 batches of an owner, newest first."""
    newest = table.query_newest(_of_owner(owner), _LISTED)
    found = table.get_all([(_PARTITION, str(item["sk"])) for item in newest]) if newest else []
    return [BatchJob.model_validate(item) for item in found if item is not None]


def move(
    batch_id: str,
    status: BatchStatus,
    only_from: Collection[BatchStatus],
    *,
    only_check: str | None = None,
    **changes: Any,
) -> bool:
    """Change the status of a batch.

    Args:
        batch_id: the batch.
        status: the new status.
        only_from: the statuses from which the change is allowed.
        only_check: the check of its file that must be the current one.
        changes: other fields of the record.

    Returns:
        False if the batch has another status, or another check is current.
    """
    fields = {"status": status, "since": clock.stamp(), **changes}
    condition: ConditionBase = Attr("status").is_in(sorted(only_from))
    if only_check:
        condition &= Attr("check_id").eq(only_check)
    return table.update(_PARTITION, batch_id, fields, only_if=condition)


def update_fields(batch_id: str, **changes: Any) -> None:
    """Set fields of a batch's record, whatever its status."""
    table.update(_PARTITION, batch_id, changes, only_if=Attr("pk").exists())


def finish_batch(
    batch_id: str,
    status: BatchStatus,
    only_from: Collection[BatchStatus],
    message: str,
    **changes: Any,
) -> bool:
    """End a batch and release its slot; returns False if it had none of the statuses `only_from`."""
    ended = move(batch_id, status, only_from, message=message, **changes)
    if ended:
        release_batch_slot(batch_id)
    return ended


def acquire_batch_slot(batch_id: str) -> bool:
    """Acquire a slot for a batch; returns False if the maximum of batches is active."""
    taken = set(table.add(*_ACTIVE_KEY, {"active": {batch_id}})["active"])
    if len(taken) > AT_ONCE:
        release_batch_slot(batch_id)
        return False
    return True


def release_batch_slot(batch_id: str) -> None:
    """Release a batch's slot. Repeating the call changes nothing."""
    table.add(*_ACTIVE_KEY, {}, removals={"active": {batch_id}})


def list_active_ids() -> list[str]:
    """Read the ids of active batches; one that has just ended may be among them."""
    return sorted((table.get(*_ACTIVE_KEY) or {}).get("active", ()))


def _of_owner(owner: str) -> str:
    return table_keys.batches_of(owner)
