"""One run at a time: a conditional write on one item decides who runs."""

from boto3.dynamodb.conditions import Attr

from contracts import table_keys
from shared import clock
from shared.table import table
from shared.table.items import Lock

_KEY = table_keys.PIPELINE_LOCK


class AnotherRunIsGoing(Exception):  # noqa: N818 - the name is what a person reads in the console
    """This execution was started by hand while another has the lock."""


def hold(run_id: str, execution_arn: str) -> None:
    """Have the lock, which whoever started the run has taken for it; one started by hand takes it here.

    Raises:
        AnotherRunIsGoing: where another run has it.
    """
    if acquire(run_id, execution_arn):
        return
    held = holder()
    if held is not None and held.run_id != run_id:
        raise AnotherRunIsGoing(
            f"Run {held.run_id} has the lock. Wait until it ends; a run that stories start does so by itself."
        )


def acquire(run_id: str, execution_arn: str) -> bool:
    """Take the free lock; returns False where somebody has it."""
    return table.put(*_KEY, _fresh(run_id, execution_arn), only_if=Attr("pk").not_exists())


def take_over(run_id: str, execution_arn: str, dead: Lock, *, owed: bool, wanted_version: str | None) -> bool:
    """Take the lock of a run that has ended without freeing it.

    Args:
        run_id: who takes it.
        execution_arn: its execution.
        dead: the lock as it was read.
        owed: whether one more run with all stories is owed after this one.
        wanted_version: version that is to be deployed after it.

    Returns False where the lock changed hands meanwhile.
    """
    still_dead = Attr("run_id").eq(dead.run_id) & Attr("acquired_at").eq(dead.acquired_at)
    fresh = {**_fresh(run_id, execution_arn), "pending": owed, "wanted_version": wanted_version}
    return table.put(*_KEY, fresh, only_if=still_dead)


def holder() -> Lock | None:
    """Return who has the lock, or None."""
    item = table.get(*_KEY)
    return Lock.model_validate(item) if item else None


def request_rerun(run_id: str) -> bool:
    """Request another run after this one; returns False if this run does not hold the lock any more."""
    return table.update(*_KEY, {"pending": True}, only_if=Attr("run_id").eq(run_id))


def queue_deployment(run_id: str, version: str) -> bool:
    """Queue the deployment of a version after this run; returns False if this run has ended.

    A later request replaces an earlier one.
    """
    return table.update(*_KEY, {"wanted_version": version}, only_if=Attr("run_id").eq(run_id))


def release(held: Lock) -> bool:
    """Free the lock exactly as it was read; returns False where it changed since.

    The condition includes what is owed: a run owed after it was read must not be forgotten.
    """
    wanted = Attr("wanted_version")
    unchanged = Attr("run_id").eq(held.run_id) & Attr("pending").eq(held.pending)
    unchanged &= wanted.eq(held.wanted_version) if held.wanted_version else wanted.not_exists()
    return table.delete(*_KEY, only_if=unchanged)


def drop(run_id: str) -> None:
    """Free the lock of a run that never began, whatever is owed."""
    table.delete(*_KEY, only_if=Attr("run_id").eq(run_id))


def _fresh(run_id: str, execution_arn: str) -> dict[str, object]:
    lock = Lock(run_id=run_id, execution_arn=execution_arn, acquired_at=clock.stamp())
    return lock.model_dump()
