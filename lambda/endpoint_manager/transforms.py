"""What a tick does about batches: no transform job is forgotten, none goes on beyond its time."""

from aws_lambda_powertools import Logger

from shared.batch_inference import batch_records, transform_jobs

log = Logger(service="endpoint_manager")


def tick() -> None:
    """Stop what has gone on for too long, and put the records right."""
    # Before the table is asked: what must end ends, also where the table cannot be read.
    overdue = transform_jobs.stop_overdue()
    if overdue:
        log.warning("Stopped transform jobs that nobody ended", extra={"jobs": overdue})
    for batch_id in batch_records.list_active_ids():
        batch = batch_records.get(batch_id)
        if batch is None:
            batch_records.release_batch_slot(batch_id)
        else:
            transform_jobs.watch(batch)
