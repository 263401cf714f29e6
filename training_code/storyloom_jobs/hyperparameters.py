"""Hyperparameters of the training job: SageMaker passes strings, this module parses and checks them."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from storyloom_jobs.container import JobError

Precision = Literal["auto", "bf16", "fp32"]
Quantization = Literal["auto", "none", "nf4"]
YesOrNo = Literal["auto", "yes", "no"]
Sharding = Literal["auto", "none", "full"]
Accelerator = Literal["auto", "gpu"]

AUTO = 0
"""Value of a number that `choices` fills in; for the other types it is the word `auto`."""

_LITERALS = (Precision, Quantization, YesOrNo, Sharding, Accelerator)


def _between(default: float, low: float, high: float) -> Any:
    """Declare a number with a default and a range."""
    return field(default=default, metadata={"low": low, "high": high})


def _chosen(low: float, high: float) -> Any:
    """Declare a number that `choices` fills in if it is not given."""
    return field(default=AUTO, metadata={"low": low, "high": high, "auto": True})


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters with their defaults. `training.choices` fills in those that are AUTO.

    A dataclass rather than a pydantic model, because pydantic is not sure to be in the training image.
    """

    epochs: int = _chosen(1, 1000)
    """Passes over the examples, unless time runs out or the validation loss stops falling."""
    learning_rate: float = _chosen(1e-7, 1.0)
    """Peak learning rate, reached after the warm-up."""
    lora_rank: int = _chosen(1, 512)
    sequence_length: int = _chosen(16, 131_072)
    """Tokens of a row. Longer examples are cut into windows of this length; no text is lost."""
    batch_tokens: int = _chosen(16, 4_194_304)
    """Tokens of one optimiser step, over all processes."""
    micro_batch_tokens: int = _chosen(16, 4_194_304)
    """Tokens of one forward and backward pass; gradients accumulate until `batch_tokens` are reached."""
    max_seconds: float = _between(14_400, 1, 432_000)
    """Seconds after which the job ends by itself, loading included, and keeps its best adapter."""
    eval_fraction_seconds: float = _between(0.1, 0.0, 0.5)
    """Share of the time to spend on validation."""
    patience: int = _between(3, 1, 1000)
    """Validations without improvement after which training stops early."""
    warmup_fraction: float = _between(0.05, 0.0, 0.9)
    """Share of the steps during which the learning rate rises."""
    checkpoint_seconds: float = _between(0.0, 0.0, 86_400)
    """Seconds between checkpoints; 0 computes the interval from `max_seconds`."""
    checkpoint_steps: int = _between(0, 0, 1_000_000)
    """Steps between checkpoints; 0 goes by the seconds."""
    lora_dropout: float = _between(0.0, 0.0, 0.9)
    weight_decay: float = _between(0.0, 0.0, 1.0)
    max_gradient_norm: float = _between(1.0, 1e-3, 1000.0)
    seed: int = _between(17, 0, 2**31 - 1)
    precision: Precision = "auto"
    """`auto` measures on a CPU and takes bf16 on a GPU that has it."""
    quantization: Quantization = "auto"
    """`nf4` keeps the frozen base model in 4 bits (QLoRA; needs a GPU and bitsandbytes)."""
    compile_layers: YesOrNo = "auto"
    """Whether to compile the decoder layers: takes half a minute and a C++ compiler, makes steps faster."""
    merge_adapters: YesOrNo = "auto"
    """Whether to compute with the adapter merged into a copy of the weights: faster, but takes their memory
    twice."""
    sharding: Sharding = "auto"
    """Whether to shard the frozen base model over the GPUs: `full`, `none`, or `auto` if it is too large for
    one."""
    accelerator: Accelerator = "auto"
    """`gpu` fails the job at once if no GPU works; `auto` uses the GPU if there is one."""
    usd_per_hour: float = _between(0.0, 0.0, 100_000.0)
    """On-demand price of one instance; 0 if it is unknown."""
    price_date: str = ""
    """Date of `usd_per_hour`."""
    base_revision: str = ""
    """Revision of the base model; only recorded."""

    @classmethod
    def from_strings(cls, values: Mapping[str, object]) -> "Hyperparameters":
        """Parse and check every value.

        Raises:
            JobError: some values are wrong; the message names all of them with what is allowed.
        """
        known = {setting.name: setting for setting in dataclasses.fields(cls)}
        wrong: list[str] = []
        typed: dict[str, Any] = {}
        for name, text in values.items():
            if name.startswith(("_", "sagemaker_")):
                continue  # SageMaker's own, such as _tuning_objective_metric
            if name not in known:
                wrong.append(f"{name} is unknown (known: {', '.join(sorted(known))})")
                continue
            try:
                typed[name] = _convert(known[name], text)
            except ValueError as error:
                wrong.append(str(error))
        if not wrong:
            settings = cls(**typed)
            if settings.batch_tokens == AUTO or settings.batch_tokens >= settings.sequence_length:
                return settings
            wrong.append(
                f"batch_tokens is {settings.batch_tokens}, it must be at least sequence_length "
                f"({settings.sequence_length})"
            )
        raise JobError("Wrong hyperparameter: " + "; ".join(wrong) + ". Correct it and start the job again.")

    @classmethod
    def load(cls, path: Path, environment: Mapping[str, str] = os.environ) -> "Hyperparameters":
        """Read `SM_HPS`, or SageMaker's hyperparameters.json; without either, take the defaults.

        Raises:
            JobError: the text is not a JSON object, or a value is wrong.
        """
        text = environment.get("SM_HPS") or (path.read_text(encoding="utf-8") if path.exists() else "{}")
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise JobError(
                f"The hyperparameters (SM_HPS or {path}) must be a JSON object of names and values."
            )
        return cls.from_strings(values)


def _convert(setting: "dataclasses.Field[Any]", given: object) -> Any:
    """Parse one value; the ValueError says what is allowed."""
    text = str(given).strip().strip('"')  # the SageMaker SDK sends JSON, so strings are quoted
    if setting.type is str:
        return text
    if setting.type in _LITERALS:
        allowed = get_args(setting.type)
        if text not in allowed:
            raise ValueError(f"{setting.name} is {text[:40]!r}, it must be one of {', '.join(allowed)}")
        return text
    may_be_auto = setting.metadata.get("auto", False)
    if may_be_auto and text == "auto":
        return AUTO
    low, high = setting.metadata["low"], setting.metadata["high"]
    kind = "a whole number" if setting.type is int else "a number"
    expected = f"{setting.name} is {text[:40]!r}, it must be {kind} from {low:g} to {high:g}"
    expected += " or auto" if may_be_auto else ""
    try:
        value = int(text) if setting.type is int else float(text)
    except ValueError:
        raise ValueError(expected) from None
    if not low <= value <= high:
        raise ValueError(expected)
    return value
