"""How many trials a search may have for its money: decided before the first of them starts."""

import math
from collections.abc import Mapping
from typing import Any

from contracts.environment import Assembly, Common
from shared.spending.prices import Price
from stories.dataset.training_plan import GRACE_MINUTES, MAX_EPOCHS, SPOT_WAIT_HOURS

_AT_ONCE = 2
"""Trials side by side: more would be sooner done, and learn less from one another."""
_FEWEST = 2
_TRAINING_SHARE = 0.8
"""Of a trial's time limit: the rest is for loading and saving."""

_RANGES: dict[str, list[dict[str, Any]]] = {
    "CategoricalParameterRanges": [{"Name": "lora_rank", "Values": ["8", "16", "32"]}],
    "ContinuousParameterRanges": [
        {"Name": "learning_rate", "MinValue": "0.00005", "MaxValue": "0.002", "ScalingType": "Logarithmic"}
    ],
    "IntegerParameterRanges": [
        {"Name": "epochs", "MinValue": "1", "MaxValue": str(MAX_EPOCHS), "ScalingType": "Linear"}
    ],
}
_TUNED = {one["Name"] for ranges in _RANGES.values() for one in ranges}


def search(
    common: Common,
    settings: Assembly,
    run_id: str,
    hyperparameters: Mapping[str, str],
    minutes: float,
    *,
    price: Price | None,
) -> dict[str, Any] | None:
    """Lay out the search of a run.

    Each trial's time limit is what holds the cap whatever the trials do: all of them together, for that long,
    cost no more than the cap at prices on demand.

    Args:
        common: the settings of every function.
        settings: the settings of the dataset's function.
        run_id: the run.
        hyperparameters: of the training job, had there been no search.
        minutes: estimate of one training.
        price: of a training instance; None if it is not known.

    Returns:
        `{"job_name", "attempt", "resource_limits", "parameter_ranges", "stopping_condition",
        "static_hyperparameters"}`, or None if there is to be none: it is off, its cost cannot be known, or
        the cap pays for less than two trials.
    """
    if not settings.tune or price is None:
        return None
    # All together no longer than one training may take: the state machine waits no longer.
    longest = (settings.max_training_minutes + GRACE_MINUTES) * 60
    seconds = min(settings.tuning_budget_usd / price.usd_per_hour * 3600, _AT_ONCE * longest)
    trials = min(settings.tuning_jobs, int(seconds / (60 * max(minutes, 1))))
    if trials < _FEWEST:
        return None
    fixed = {name: value for name, value in hyperparameters.items() if name not in _TUNED}
    rounds = math.ceil(trials / _AT_ONCE)
    each = int(min(seconds / trials, longest / rounds))
    fixed["max_seconds"] = f"{min(float(fixed['max_seconds']), _TRAINING_SHARE * each):g}"
    return {
        "job_name": common.names.tuning_job(run_id),
        "attempt": 1,
        "resource_limits": {
            "MaxNumberOfTrainingJobs": trials,
            "MaxParallelTrainingJobs": min(_AT_ONCE, trials),
        },
        "parameter_ranges": _RANGES,
        "stopping_condition": _stopping_condition(each, rounds, spot=settings.spot),
        "static_hyperparameters": fixed,
    }


def _stopping_condition(seconds: int, rounds: int, *, spot: bool) -> dict[str, int]:
    """Limit one trial; all rounds together wait no longer for spot machines than one training does."""
    limit = {"MaxRuntimeInSeconds": seconds}
    if spot:
        limit["MaxWaitTimeInSeconds"] = seconds + SPOT_WAIT_HOURS * 3600 // rounds
    return limit
