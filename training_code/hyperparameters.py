"""The job's settings: SageMaker hands them over as strings, this turns them into typed, checked values."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from training_code.container import JobError

Precision = Literal["auto", "bf16", "fp32"]
Quantization = Literal["auto", "none", "nf4"]
YesOrNo = Literal["auto", "yes", "no"]
Sharding = Literal["auto", "none", "full"]
Accelerator = Literal["auto", "gpu"]

AUTO = 0
"""A number that is left to `choices`; so is the word `auto`."""

_WORDS = (Precision, Quantization, YesOrNo, Sharding, Accelerator)


def _between(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _chosen(low: float, high: float) -> Any:
    """A number that is chosen for the data, the base model and the machine where nobody gives it."""
    return field(default=AUTO, metadata={"low": low, "high": high, "auto": True})


@dataclass(frozen=True)
class Hyperparameters:
    """How to train. What is AUTO here is filled in by `choices`, which knows what it depends on.

    Dataclasses rather than pydantic: the job cannot install anything, and only the standard library is sure.
    """

    epochs: int = _chosen(1, 1000)
    """Times each example is seen, unless time runs out or the validation loss stops falling."""
    learning_rate: float = _chosen(1e-7, 1.0)
    """At its highest, after the warm-up."""
    lora_rank: int = _chosen(1, 512)
    sequence_length: int = _chosen(16, 131_072)
    """Tokens; longer examples are cut into windows of this length, none of their text is lost."""
    batch_tokens: int = _chosen(16, 4_194_304)
    """Tokens of one optimiser step."""
    micro_batch_tokens: int = _chosen(16, 4_194_304)
    """Tokens that go through the model at once; where there are fewer than a step's, gradients add up."""
    max_seconds: float = _between(14_400, 1, 432_000)
    """The job ends by itself after this, loading included, and keeps its best adapter."""
    eval_fraction_seconds: float = _between(0.1, 0.0, 0.5)
    """Share of the time that measuring the validation loss may take."""
    patience: int = _between(3, 1, 1000)
    """Measurements of the validation loss without improvement before training ends early."""
    warmup_fraction: float = _between(0.05, 0.0, 0.9)
    """Share of the steps in which the learning rate rises."""
    checkpoint_seconds: float = _between(0.0, 0.0, 86_400)
    """Seconds between checkpoints; 0 computes them from `max_seconds`."""
    checkpoint_steps: int = _between(0, 0, 1_000_000)
    """Steps between checkpoints; 0 goes by the seconds."""
    lora_dropout: float = _between(0.0, 0.0, 0.9)
    weight_decay: float = _between(0.0, 0.0, 1.0)
    max_gradient_norm: float = _between(1.0, 1e-3, 1000.0)
    seed: int = _between(17, 0, 2**31 - 1)
    precision: Precision = "auto"
    """`auto` measures on a CPU and takes bf16 on a GPU that has it."""
    quantization: Quantization = "auto"
    """`nf4` keeps the frozen base in 4 bits (QLoRA; needs a GPU and bitsandbytes)."""
    compile_layers: YesOrNo = "auto"
    """Whether to compile the decoder layers first: half a minute and a C++ compiler, for faster steps."""
    merge_adapters: YesOrNo = "auto"
    """Whether to compute with merged copies of the weights: faster, and twice the memory of the weights."""
    sharding: Sharding = "auto"
    """Whether several GPUs divide the frozen base among them: `full`, `none`, or where it asks for it."""
    accelerator: Accelerator = "auto"
    """`gpu` fails the job at once if no GPU computes; `auto` computes on whatever there is."""
    usd_per_hour: float = _between(0.0, 0.0, 100_000.0)
    """Price of one instance, on demand; 0 where it is not known."""
    price_date: str = ""
    """Of what day `usd_per_hour` is."""
    base_revision: str = ""
    """Which revision of the base model this is; only noted."""

    @classmethod
    def from_strings(cls, values: Mapping[str, object]) -> "Hyperparameters":
        """Convert and check every value.

        Raises:
            JobError: names all wrong settings at once, each with what it may be.
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
        """Read `SM_HPS` where it is set, else SageMaker's hyperparameters.json; neither means all defaults.

        Raises:
            JobError: they do not hold a JSON object, or a value is wrong.
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
    """The typed value of one setting; ValueError says what was expected."""
    text = str(given).strip().strip('"')  # the SageMaker SDK sends JSON, so strings come quoted
    if setting.type is str:
        return text
    if setting.type in _WORDS:
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
