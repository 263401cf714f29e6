"""Update the table, which outlives the deployment: what has ended, and what it has cost."""

from collections.abc import Callable

from clean_up.resources import Remaining
from contracts import statuses
from contracts.statuses import ACTIVE_BATCH_STATUSES, ACTIVE_RUN_STATUSES
from shared import clock, settlement
from shared.accounts import keys
from shared.aws import clients
from shared.batch_inference import batch_records
from shared.hosting import hosting_state
from shared.models import versions
from shared.runs import lock, run_records

_GONE = "The deployment was deleted while this was in progress."


def settle_jobs() -> list[Remaining]:
    """Settle the costs of jobs in the month's ledger; returns the jobs that have not ended yet."""
    remaining: list[Remaining] = []

    def settle() -> None:
        running = settlement.settle_all()
        remaining.extend(Remaining(f"job {name}", "it has not ended yet") for name in running)

    _unless_the_table_is_gone(settle)
    return remaining


def end_active_records() -> list[Remaining]:
    """Record that runs and batches have ended, and that the model sleeps."""
    return _unless_the_table_is_gone(_end_runs, _end_batches, hosting_state.mark_deployment_deleted)


def clear_package_references() -> list[Remaining]:
    """Remove the model packages from the versions' records.

    The next deployment's registry counts from 1 again, where an old ARN would be another version's package.
    """
    return _unless_the_table_is_gone(versions.clear_packages)


def revoke_keys() -> list[Remaining]:
    """Revoke every API key, because the people who created them are deleted with the user pool."""

    def revoke() -> None:
        for key in keys.list_all():
            if key.revoked_at is None:
                keys.mark_revoked(key.key_id)

    return _unless_the_table_is_gone(revoke)


def _end_runs() -> None:
    held = lock.holder()
    in_progress = {run.run_id for run in run_records.latest() if run.status in ACTIVE_RUN_STATUSES}
    for run_id in sorted(in_progress | ({held.run_id} if held else set())):
        run_records.finish(run_id, statuses.FAILED, f"{_GONE} Your stories are untouched.")
        lock.force_release(run_id)


def _end_batches() -> None:
    for batch_id in batch_records.list_active_ids():
        batch_records.finish_batch(
            batch_id, statuses.STOPPED, ACTIVE_BATCH_STATUSES, _GONE, ended_at=clock.stamp()
        )
        batch_records.release_batch_slot(batch_id)


def _unless_the_table_is_gone(*steps: Callable[[], None]) -> list[Remaining]:
    try:
        for step in steps:
            step()
    except clients.dynamodb().exceptions.ResourceNotFoundException:
        pass  # its owner deleted the table too
    return []
