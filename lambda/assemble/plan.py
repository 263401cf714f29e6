"""How to train, and the jobs that do it: plain data, made from the settings and the run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shared import layout
from shared.environment import Assembly, BaseModelChoice, Common
from stories.models import Part

_INPUTS = "/opt/ml/processing/input"


@dataclass(frozen=True)
class Hyperparameters:
    """The settings of training that depend on the model and the time; others keep their defaults."""

    epochs: int
    learning_rate: float
    lora_rank: int
    sequence_length: int
    """Tokens the model is trained on at a time."""
    batch_tokens: int
    """Tokens of one step of the optimiser."""
    max_seconds: int
    seed: int

    def as_strings(self) -> dict[str, str]:
        """Return them as SageMaker wants them."""
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class _Size:
    """What suits models up to a size. Larger models learn from smaller steps and remember longer passages."""

    parameters_millions: float
    learning_rate: float
    sequence_length: int
    batch_tokens: int


_SIZES = (
    _Size(200, 1e-3, 512, 2048),
    _Size(500, 6e-4, 1024, 8192),
    _Size(2000, 3e-4, 2048, 16384),
    _Size(float("inf"), 2e-4, 2048, 16384),
)
_EPOCHS = 4
# The endpoint reserves memory for adapters of this rank (max-lora-rank in serving.yaml).
_LORA_RANK = 16
_SEED = 17


def hyperparameters(base_model: BaseModelChoice, max_training_minutes: int) -> Hyperparameters:
    """Choose the hyperparameters for a model."""
    size = next(size for size in _SIZES if base_model.parameters_millions <= size.parameters_millions)
    return Hyperparameters(
        epochs=_EPOCHS,
        learning_rate=size.learning_rate,
        lora_rank=_LORA_RANK,
        sequence_length=min(size.sequence_length, base_model.context_length),
        batch_tokens=size.batch_tokens,
        max_seconds=max_training_minutes * 60,
        seed=_SEED,
    )


def jobs(
    common: Common,
    settings: Assembly,
    run_id: str,
    chosen: Hyperparameters,
    live: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Lay out the training and the evaluation of a run.

    Args:
        common: the settings of every function.
        settings: the settings of the dataset's function.
        run_id: the run.
        chosen: its hyperparameters.
        live: `{"version", "adapter_uri"}` of the model that answers now, where it has the same base.
    """
    training_job = layout.training_job(common.name, run_id)
    bucket = common.artifacts_bucket
    model = layout.uri(bucket, layout.base_model(common.base_model.slug, common.base_model.revision))
    parts: dict[Part, str] = {
        "train": layout.uri(bucket, layout.dataset(run_id, "train")),
        "validation": layout.uri(bucket, layout.dataset(run_id, "validation")),
        "test": layout.uri(bucket, layout.dataset(run_id, "test")),
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
        "candidate": layout.uri(bucket, layout.adapter(run_id, training_job)),
        "test": parts["test"],
        "train": parts["train"],
    }
    if live is not None:
        inputs["live"] = live["adapter_uri"]
    return {
        "training_job_name": training_job,
        "hyperparameters": chosen.as_strings(),
        "training_channels": [_channel(name, uri) for name, uri in channels.items()],
        "training_output_uri": layout.uri(bucket, layout.training(run_id)),
        "checkpoint_uri": layout.uri(bucket, layout.checkpoints(run_id)),
        "processing_job_name": f"{common.name}-evaluate-{run_id}",
        "processing_inputs": [_processing_input(name, uri) for name, uri in inputs.items()],
        "evaluation_output_uri": layout.uri(bucket, layout.evaluation(run_id)),
    }


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
