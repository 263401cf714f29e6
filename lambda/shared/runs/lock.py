"""The lock of the pipeline, which one run holds at a time: a conditional write on one item decides which."""

from boto3.dynamodb.conditions import Attr

from contracts import table_keys
from shared import clock, table
from shared.items import Lock
from shared.runs import schedules

_KEY = table_keys.PIPELINE_LOCK


class AnotherRunInProgress(Exception):  # noqa: N818 - the name is what a person reads in the console
    """This execution was started by hand while another run holds the lock."""


def ensure_held(run_id: str, execution_arn: str) -> None:
    """Check that a run holds the lock; a run that was started by hand acquires it here.

    Raises:
        AnotherRunInProgress: another run holds it.
    """
    if acquire(run_id, execution_arn):
        return
    held = holder()
    if held is not None and held.run_id != run_id:
        raise AnotherRunInProgress(
            f"Run {held.run_id} is in progress. Start this one when it has ended; runs that new stories "
            "start wait by themselves."
        )


def acquire(run_id: str, execution_arn: str) -> bool:
    """Acquire the lock; returns False if another run holds it."""
    return table.put(*_KEY, _item(run_id, execution_arn), only_if=Attr("pk").not_exists())


def take_over(
    run_id: str, execution_arn: str, dead: Lock, *, rerun: bool, wanted_version: str | None
) -> bool:
    """Acquire the lock of a run that has ended without releasing it.

    Args:
        run_id: the run that acquires it.
        execution_arn: its execution.
        dead: the lock as it was read.
        rerun: whether another run with all stories follows this one.
        wanted_version: the version that is deployed after this run.

    Returns:
        False if another run acquired it meanwhile.
    """
    still_dead = Attr("run_id").eq(dead.run_id) & Attr("acquired_at").eq(dead.acquired_at)
    fresh = {**_item(run_id, execution_arn), "pending": rerun, "wanted_version": wanted_version}
    return table.put(*_KEY, fresh, only_if=still_dead)


def holder() -> Lock | None:
    """Return the lock as it is held; None if no run holds it."""
    item = table.get(*_KEY)
    return Lock.model_validate(item) if item else None


def request_rerun(run_id: str) -> bool:
    """Request another run after this one; returns False if this run no longer holds the lock."""
    return table.update(*_KEY, {"pending": True}, only_if=Attr("run_id").eq(run_id))


def queue_deployment(run_id: str, version: str) -> bool:
    """Queue the deployment of a version after this run; returns False if this run has ended.

    A later request replaces an earlier one.
    """
    return table.update(*_KEY, {"wanted_version": version}, only_if=Attr("run_id").eq(run_id))


def release(held: Lock) -> bool:
    """Release the lock exactly as it was read; returns False if it changed since.

    The condition includes the requests for further runs, so that one made after the read is not lost.
    """
    wanted = Attr("wanted_version")
    unchanged = Attr("run_id").eq(held.run_id) & Attr("pending").eq(held.pending)
    unchanged &= wanted.eq(held.wanted_version) if held.wanted_version else wanted.not_exists()
    return table.delete_item(*_KEY, only_if=unchanged)


def force_release(run_id: str) -> None:
    """Release the lock of a run that never began, whatever was requested meanwhile."""
    table.delete_item(*_KEY, only_if=Attr("run_id").eq(run_id))


def _item(run_id: str, execution_arn: str) -> dict[str, object]:
    lock = Lock(run_id=run_id, execution_arn=execution_arn, acquired_at=clock.stamp())
    return lock.model_dump()


def release_lock_and_reschedule(run_id: str) -> bool:
    """Release this run's lock, and schedule the runs that were requested meanwhile.

    If stories arrived, exactly one more run is scheduled. A queued deployment has a schedule of its own, and
    its run comes first. The schedules are created before the lock is released, so that a crash in between
    delays a run but never loses one: the retry moves the same schedule and releases the same lock.

    Returns:
        Whether another run with all stories was scheduled.
    """
    while True:
        held = holder()
        if held is None or held.run_id != run_id:
            return False
        if held.wanted_version:
            schedules.schedule_deployment(
                held.wanted_version, f"{held.wanted_version} was chosen during run {run_id}"
            )
        if held.pending:
            schedules.debounce_run(f"stories arrived during run {run_id}")
        if release(held):
            return held.pending
