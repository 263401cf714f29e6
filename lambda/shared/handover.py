"""Freeing the lock at the end of a run, without forgetting the runs that are owed."""

from shared import lock, quiet_period, timer


def free(run_id: str) -> bool:
    """Free this run's lock; where stories came meanwhile, set the timer for exactly one more run.

    A version that somebody wished for meanwhile gets a timer of its own, and its run is the earlier one.
    The timer is set first and the lock freed after it, so that a crash in between leaves a run that is
    late, never one that is forgotten: the retry moves the same schedule and frees the same lock.

    Returns:
        Whether one more run with all stories was set.
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
