"""How many trials a search may have for its money: decided before the first of them starts."""

from collections.abc import Mapping
from typing import Any

from shared import layout
from shared.environment import Assembly, Common
from stories.estimate import GRACE_MINUTES, INSTANCES
from stories.recipe import MOST_EPOCHS

_AT_ONCE = 2
"""Trials side by side: more would be sooner done, and learn less from one another."""
_FEWEST = 2
_SHORTEST_SECONDS = 120
"""SageMaker takes no shorter limit for a whole search."""

_RANGES: dict[str, list[dict[str, Any]]] = {
    "CategoricalParameterRanges": [{"Name": "lora_rank", "Values": ["8", "16", "32"]}],
    "ContinuousParameterRanges": [
        {"Name": "learning_rate", "MinValue": "0.00005", "MaxValue": "0.002", "ScalingType": "Logarithmic"}
    ],
    "IntegerParameterRanges": [
        {"Name": "epochs", "MinValue": "1", "MaxValue": str(MOST_EPOCHS), "ScalingType": "Linear"}
    ],
}
_TUNED = {one["Name"] for ranges in _RANGES.values() for one in ranges}
# A tuning job cannot say what its containers run: SageMaker's framework images run the script named here.
_SCRIPT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "/opt/ml/input/data/code"}


def search(
    common: Common,
    settings: Assembly,
    run_id: str,
    hyperparameters: Mapping[str, str],
    minutes: float,
) -> dict[str, Any] | None:
    """Lay out the search of a run.

    The time limit is what holds the cap whatever the trials do: as many machines as work at once, for that
    long, cost no more than the cap at prices on demand.

    Args:
        common: the settings of every function.
        settings: the settings of the dataset's function.
        run_id: the run.
        hyperparameters: of the training job, had there been no search.
        minutes: estimate of one training.

    Returns:
        `{"job_name", "resource_limits", "parameter_ranges", "static_hyperparameters"}`, or None where there
        is to be none: it is off, its cost cannot be known, or the cap pays for less than two trials.
    """
    instance = INSTANCES.get(settings.training_instance)
    if not settings.tune or instance is None:
        return None
    seconds = settings.tuning_budget_usd / instance.usd_per_hour * 3600
    trials = min(settings.tuning_jobs, int(seconds / (60 * max(minutes, 1))))
    at_once = min(_AT_ONCE, trials)
    if trials < _FEWEST or seconds / at_once < _SHORTEST_SECONDS:
        return None
    # No longer than one training may take: the state machine waits no longer.
    longest = (settings.max_training_minutes + GRACE_MINUTES) * 60
    fixed = {name: value for name, value in hyperparameters.items() if name not in _TUNED}
    return {
        "job_name": layout.tuning_job(common.name, run_id),
        "resource_limits": {
            "MaxNumberOfTrainingJobs": trials,
            "MaxParallelTrainingJobs": at_once,
            "MaxRuntimeInSeconds": min(int(seconds / at_once), longest),
        },
        "parameter_ranges": _RANGES,
        "static_hyperparameters": {**fixed, **_SCRIPT},
    }
