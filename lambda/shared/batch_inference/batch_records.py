"""Batches: many prompts, each a line of a file, that one SageMaker transform job answers.

A record says how far a batch is. It is written before anything that bills is made, and every change is
conditional on the status it was decided from, so that a start, a stop and a tick of the keeper that come at
once settle on one outcome. Which batches are going is kept beside the records, as a set that one atomic write
both changes and counts.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from contracts import table_keys
from shared import clock
from shared.runs import run_records
from shared.table import table
from shared.table.items import Transform, TransformStatus

AT_ONCE = 2
"""How many may be going at the same time, of all people together."""
_PARTITION = table_keys.BATCHES
_GOING_KEY = table_keys.ACTIVE_BATCHES
_LISTED = 50
_KEPT = timedelta(days=60)
"""Records outlive their files, which go after 30 days, by as long as the month's cost needs them."""


def create(
    *, owner: str, created_by: str, name: str, model: str, max_tokens: int, instance: str
) -> Transform:
    """Write a new batch's record, which waits for its file."""
    now = clock.now()
    batch = Transform(
        batch_id=run_records.new_id(now),
        status="uploading",
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
    # Lists the owner's own: reading everybody's takes seconds once there are thousands.
    table.put(_of_owner(owner), batch.batch_id, {"expires_at": batch.expires_at})
    return batch


def get(batch_id: str) -> Transform | None:
    """Read one batch."""
    item = table.get(_PARTITION, batch_id)
    return Transform.model_validate(item) if item else None


def of(owner: str) -> list[Transform]:
    """Read somebody's batches, newest first, 50 at most."""
    newest = table.newest(_of_owner(owner), _LISTED)
    found = table.get_all([(_PARTITION, str(item["sk"])) for item in newest]) if newest else []
    return [Transform.model_validate(item) for item in found if item is not None]


def move(
    batch_id: str,
    status: TransformStatus,
    only_from: Collection[TransformStatus],
    *,
    only_check: str | None = None,
    **changes: Any,
) -> bool:
    """Bring a batch into another status.

    Args:
        batch_id: which batch.
        status: the new one.
        only_from: returns False if the batch was in none of these.
        only_check: returns False also if another check of its file counts by now.
        changes: other fields of the record.
    """
    fields = {"status": status, "since": clock.stamp(), **changes}
    condition: ConditionBase = Attr("status").is_in(sorted(only_from))
    if only_check:
        condition &= Attr("check_id").eq(only_check)
    return table.update(_PARTITION, batch_id, fields, only_if=condition)


def note(batch_id: str, **changes: Any) -> None:
    """Write down what was learnt of a batch, whatever its status."""
    table.update(_PARTITION, batch_id, changes, only_if=Attr("pk").exists())


def finish(
    batch_id: str,
    status: TransformStatus,
    only_from: Collection[TransformStatus],
    message: str,
    **changes: Any,
) -> bool:
    """End a batch and release its slot; returns False if it was in none of these statuses."""
    ended = move(batch_id, status, only_from, message=message, **changes)
    if ended:
        release_slot(batch_id)
    return ended


def acquire_slot(batch_id: str) -> bool:
    """Acquire a slot for a batch; returns False if the maximum of batches is running."""
    taken = set(table.add(*_GOING_KEY, {"going": {batch_id}})["going"])
    if len(taken) > AT_ONCE:
        release_slot(batch_id)
        return False
    return True


def release_slot(batch_id: str) -> None:
    """Release a batch's slot. Repeating the call changes nothing."""
    table.add(*_GOING_KEY, {}, removals={"going": {batch_id}})


def going() -> list[str]:
    """Read the ids of those that are going; one that has just ended may be among them."""
    return sorted((table.get(*_GOING_KEY) or {}).get("going", ()))


def _of_owner(owner: str) -> str:
    return table_keys.batches_of(owner)
