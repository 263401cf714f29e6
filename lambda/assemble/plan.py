"""The jobs of a run: plain data, made from the settings and the run."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from contracts import s3_keys
from contracts.environment import Assembly, Common
from shared.recovery import attempts
from shared.spending.prices import Price
from stories.dataset.training_plan import Recipe
from stories.records import Part

_INPUTS = "/opt/ml/processing/input"
# Step Functions may not know how a request names its command (docs/decisions/0015), and a tuning job cannot:
# the toolkit of SageMaker's framework images runs the script that these two hyperparameters name.
ENTRY_POINT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "/opt/ml/input/data/code"}


def jobs(
    common: Common,
    settings: Assembly,
    run_id: str,
    chosen: Recipe,
    live: Mapping[str, str] | None,
    *,
    price: Price | None,
) -> dict[str, Any]:
    """Lay out the training and the evaluation of a run.

    Args:
        common: the settings of every function.
        settings: the settings of the dataset's function.
        run_id: the run.
        chosen: what the dataset was made for.
        live: `{"version", "adapter_uri"}` of the model that answers now, where it has the same base.
        price: of a training instance; None if it is not known.
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
    """Only what the job cannot know: it chooses the rest from the data, the base and its machine."""
    # Every instance of the settings has a GPU: a job that finds none is to fail, not to use the processor.
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
