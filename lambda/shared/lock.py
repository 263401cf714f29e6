"""One run at a time: a conditional write on one item decides who runs."""

from boto3.dynamodb.conditions import Attr

from shared import clock, table
from shared.models import Lock

_KEY = ("LOCK", "PIPELINE")


def acquire(run_id: str, execution_arn: str) -> bool:
    """Take the free lock; returns False where somebody has it."""
    return table.put(*_KEY, _fresh(run_id, execution_arn), only_if=Attr("pk").not_exists())


def take_over(run_id: str, execution_arn: str, dead: Lock) -> bool:
    """Take the lock of a run that has ended without freeing it.

    Returns False where the lock changed hands meanwhile.
    """
    still_dead = Attr("run_id").eq(dead.run_id) & Attr("acquired_at").eq(dead.acquired_at)
    return table.put(*_KEY, _fresh(run_id, execution_arn), only_if=still_dead)


def holder() -> Lock | None:
    """Return who has the lock, or None."""
    item = table.get(*_KEY)
    return Lock.model_validate(item) if item else None


def owe_one_more(run_id: str) -> bool:
    """Note that stories came while this run had the lock; returns False where it has it no more."""
    return table.update(*_KEY, {"pending": True}, only_if=Attr("run_id").eq(run_id))


def release(held: Lock) -> bool:
    """Free the lock exactly as it was read; returns False where it changed since.

    The condition includes `pending`: a run owed after it was read must not be forgotten.
    """
    unchanged = Attr("run_id").eq(held.run_id) & Attr("pending").eq(held.pending)
    return table.delete(*_KEY, only_if=unchanged)


def drop(run_id: str) -> None:
    """Free the lock of a run that never began, whatever is owed."""
    table.delete(*_KEY, only_if=Attr("run_id").eq(run_id))


def _fresh(run_id: str, execution_arn: str) -> dict[str, object]:
    lock = Lock(run_id=run_id, execution_arn=execution_arn, acquired_at=clock.stamp())
    return lock.model_dump()
