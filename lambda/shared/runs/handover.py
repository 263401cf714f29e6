"""Release the lock at the end of a run, and schedule the runs that were requested meanwhile."""

from shared.runs import lock, quiet_period, timer


def release_lock_and_reschedule(run_id: str) -> bool:
    """Release this run's lock; if stories arrived meanwhile, set the timer for exactly one more run.

    A version whose deployment was queued meanwhile gets a timer of its own, and its run comes first. The
    timer is set before the lock is released, so that a crash in between delays a run but never loses one: the
    retry moves the same schedule and releases the same lock.

    Returns:
        Whether another run with all stories was scheduled.
    """
    while True:
        held = lock.holder()
        if held is None or held.run_id != run_id:
            return False
        if held.wanted_version:
            timer.deploy_soon(held.wanted_version, f"{held.wanted_version} was chosen during run {run_id}")
        if held.pending:
            quiet_period.restart(f"stories arrived during run {run_id}")
        if lock.release(held):
            return held.pending
