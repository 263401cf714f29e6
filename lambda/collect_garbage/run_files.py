"""What runs leave that only they needed: training checkpoints, and merged weights of old versions."""

from datetime import UTC, datetime, timedelta

from collect_garbage import artifact_objects
from collect_garbage.protected import Protected
from contracts import s3_keys
from shared import clock

_LONGEST_RUN = timedelta(days=14)
"""No run goes on for longer, a week's wait for a yes included; after that nobody resumes its training."""


def delete_finished(run_id: str, protected: Protected) -> int:
    """Delete checkpoints and merged weights that no run or version needs; returns how many objects.

    Args:
        run_id: the run that is ending, whose training is over.
        protected: what stays.
    """
    deleted = 0
    for other in artifact_objects.folders(s3_keys.RUNS):
        if other == run_id or _is_old(other):
            deleted += artifact_objects.delete_below(s3_keys.checkpoint_files(other))
        if other not in protected.merged_runs and _is_old(other):
            deleted += artifact_objects.delete_below(s3_keys.merged(other))
    return deleted


def _is_old(run_id: str) -> bool:
    try:
        started = datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return False
    return clock.now() - started > _LONGEST_RUN
