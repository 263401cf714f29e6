"""Plan the jobs of a run as plain data: the training, the search for hyperparameters, and the evaluation."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from contracts import s3_keys
from contracts.environment import Assembly, Common
from shared.recovery import attempts
from shared.spending.prices import Price
from stories.dataset.training_plan import GRACE_MINUTES, MAX_EPOCHS, SPOT_WAIT_HOURS, Recipe
from stories.records import Part

_INPUTS = "/opt/ml/processing/input"
# Step Functions may not accept the fields that name a command (docs/decisions/0015); a tuning job has none.
# The toolkit of SageMaker's framework images runs the script that these two hyperparameters name.
ENTRY_POINT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "/opt/ml/input/data/code"}
_PARALLEL_TRIALS = 2
"""Trials at the same time; more would finish sooner, but learn less from one another."""
_MIN_TRIALS = 2
_TRAINING_SHARE = 0.8
"""Share of a trial's time limit for training; the rest is for loading and saving."""

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


def plan_jobs(
    common: Common,
    settings: Assembly,
    run_id: str,
    chosen: Recipe,
    live: Mapping[str, str] | None,
    *,
    price: Price | None,
) -> dict[str, Any]:
    """Plan the training and the evaluation of a run.

    Args:
        common: the settings of every function.
        settings: the settings of the dataset's function.
        run_id: the run.
        chosen: the recipe that the dataset was built for.
        live: `{"version", "adapter_uri"}` of the live model, if it has the same base.
        price: price of a training instance; None if it is not known.
    """
    training_job = common.names.training_job(run_id)
    bucket = common.artifacts_bucket
    model = s3_keys.uri(bucket, s3_keys.base_model(common.base_model.slug, common.base_model.revision))
    parts: dict[Part, str] = {
        "train": s3_keys.uri(bucket, s3_keys.dataset(run_id, "train")),
        "validation": s3_keys.uri(bucket, s3_keys.dataset(run_id, "validation")),
        "test": s3_keys.uri(bucket, s3_keys.dataset(run_id, "test")),
    }
    channels = {
        "train": parts["train"],
        "validation": parts["validation"],
        "model": model,
        "code": settings.training_code_uri,
    }
    inputs = {
        "code": settings.training_code_uri,
        "model": model,
        "candidate": s3_keys.uri(bucket, s3_keys.model_archive(run_id, training_job)),
        "test": parts["test"],
        "train": parts["train"],
    }
    if live is not None:
        inputs["live"] = live["adapter_uri"]
    evaluation = {
        "processing_inputs": [_processing_input(name, uri) for name, uri in inputs.items()],
        "evaluation_output_uri": s3_keys.uri(bucket, s3_keys.evaluation(run_id)),
    }
    training = {
        "training_attempt": 1,
        "training_job_name": training_job,
        "hyperparameters": _hyperparameters(common, chosen, price),
        "training_channels": [_channel(name, uri) for name, uri in channels.items()],
        "training_output_uri": s3_keys.uri(bucket, s3_keys.training(run_id)),
        "checkpoint_uri": s3_keys.uri(bucket, s3_keys.checkpoints(run_id)),
    }
    return attempts.evaluation_attempt(run_id, {**training, **evaluation}, 1, settings.processing_instances)


def _hyperparameters(common: Common, chosen: Recipe, price: Price | None) -> dict[str, str]:
    """Return what the job cannot know: it chooses the rest from the data, the base model and its instance."""
    # Every instance of the settings has a GPU. A job that finds none must fail instead of using the CPU.
    values = {**asdict(chosen), "base_revision": common.base_model.revision, "accelerator": "gpu"}
    if price is not None:
        values |= {"usd_per_hour": price.usd_per_hour, "price_date": price.date}
    return {name: str(value) for name, value in values.items()} | ENTRY_POINT


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _processing_input(name: str, uri: str) -> dict[str, Any]:
    source = {
        "S3Uri": uri,
        "LocalPath": f"{_INPUTS}/{name}",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"InputName": name, "S3Input": source}


def plan_search(
    common: Common,
    settings: Assembly,
    run_id: str,
    hyperparameters: Mapping[str, str],
    minutes: float,
    *,
    price: Price | None,
) -> dict[str, Any] | None:
    """Plan the search of a run, within its budget.

    Each trial's time limit keeps the search within the budget: all trials together cost no more than the
    budget at on-demand prices, even if each uses its whole time.

    Args:
        common: the settings of every function.
        settings: the settings of the dataset's function.
        run_id: the run.
        hyperparameters: those of the training job without a search.
        minutes: estimate of one training.
        price: price of a training instance; None if it is not known.

    Returns:
        `{"job_name", "attempt", "resource_limits", "parameter_ranges", "stopping_condition",
        "static_hyperparameters"}`, or None without a search: it is off, its cost is not known, or the budget
        is too small for two trials.
    """
    if not settings.tune or price is None:
        return None
    # All trials together may take as long as one training, because the state machine waits no longer.
    longest = (settings.max_training_minutes + GRACE_MINUTES) * 60
    seconds = min(settings.tuning_budget_usd / price.usd_per_hour * 3600, _PARALLEL_TRIALS * longest)
    trials = min(settings.tuning_jobs, int(seconds / (60 * max(minutes, 1))))
    if trials < _MIN_TRIALS:
        return None
    fixed = {name: value for name, value in hyperparameters.items() if name not in _TUNED}
    rounds = math.ceil(trials / _PARALLEL_TRIALS)
    each = int(min(seconds / trials, longest / rounds))
    fixed["max_seconds"] = f"{min(float(fixed['max_seconds']), _TRAINING_SHARE * each):g}"
    return {
        "job_name": common.names.tuning_job(run_id),
        "attempt": 1,
        "resource_limits": {
            "MaxNumberOfTrainingJobs": trials,
            "MaxParallelTrainingJobs": min(_PARALLEL_TRIALS, trials),
        },
        "parameter_ranges": _RANGES,
        "stopping_condition": _stopping_condition(each, rounds, spot=settings.spot),
        "static_hyperparameters": fixed,
    }


def _stopping_condition(seconds: int, rounds: int, *, spot: bool) -> dict[str, int]:
    """Limit one trial; all rounds together wait no longer for spot instances than one training."""
    limit = {"MaxRuntimeInSeconds": seconds}
    if spot:
        limit["MaxWaitTimeInSeconds"] = seconds + SPOT_WAIT_HOURS * 3600 // rounds
    return limit
