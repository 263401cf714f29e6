"""Loads the base model and its tokenizer; adds, loads, saves and merges LoRA adapters."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Jobs have no network. Without this, libraries try to connect until they time out.
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

from storyloom_jobs.container import JobError, first_line
from storyloom_jobs.hardware import PrecisionConfig
from storyloom_jobs.hyperparameters import Hyperparameters, Quantization

ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class BaseShape:
    """Sizes of a base model, which decide how much memory and work a token takes."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    context: int | None
    """Tokens of its context window; None if its config does not tell."""


def load_tokenizer(folder: Path) -> Any:
    """Load the base model's tokenizer.

    Raises:
        JobError: the tokenizer cannot be read, or has no end token.
    """
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # transformers raises many types here, all with the same meaning
        raise _unreadable("tokenizer", folder, error) from error
    if tokenizer.eos_token_id is None:
        raise JobError(
            "The base model's tokenizer has no end token (eos_token), so a tuned model would never stop. "
            "Choose another base model, or set eos_token in its tokenizer_config.json."
        )
    return tokenizer


def read_base_shape(folder: Path) -> BaseShape:
    """Read a base model's sizes from its config and the headers of its weight files.

    Raises:
        JobError: the config or the headers cannot be read.
    """
    try:
        config: Any = AutoConfig.from_pretrained(folder).get_text_config()
        parameters = sum(_count_weights(file) for file in folder.glob("*.safetensors"))
    except Exception as error:  # transformers and safetensors raise many types, all with the same meaning
        raise _unreadable("model", folder, error) from error
    hidden = int(config.hidden_size)
    return BaseShape(
        parameters=parameters,
        layers=int(config.num_hidden_layers),
        hidden=hidden,
        intermediate=int(getattr(config, "intermediate_size", None) or 4 * hidden),
        vocabulary=int(config.vocab_size),
        context=getattr(config, "max_position_embeddings", None),
    )


def _count_weights(file: Path) -> int:
    with safe_open(file, framework="pt") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118


def load_base(folder: Path, precision: PrecisionConfig, quantization: Quantization = "none") -> Any:
    """Load the base model with frozen weights, in the given number format on the given device.

    With `nf4` the linear layers except the output head are kept in 4 bits and multiply in that number format.

    Raises:
        JobError: transformers cannot read the model.
    """
    in_4_bits: dict[str, Any] = {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=precision.dtype,
        ),
        "device_map": {"": precision.device},
    }
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=precision.dtype, **(in_4_bits if quantization == "nf4" else {})
        )
    except Exception as error:
        raise _unreadable("model", folder, error) from error
    model.requires_grad_(False)
    return model if quantization == "nf4" else model.to(precision.device)


def flops_per_token(model: Any, length: int) -> float:
    """Compute the floating-point operations per token of training in rows of `length` tokens.

    Each weight takes two operations forward and two backward; frozen weights have no gradient of their own.
    Attention covers half the row on average. Recomputed activations are not counted.
    """
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    weights = sum(_multiplications(module) for name, module in base.named_modules() if "lora_" not in name)
    config = base.config.get_text_config()
    attention: int = config.num_hidden_layers * config.hidden_size * length
    return 4.0 * weights + 6.0 * attention


def _multiplications(module: Any) -> int:
    """Count the multiplications of a layer per token; 0 if it is not a linear layer."""
    if isinstance(module, torch.nn.Linear):  # also 4-bit layers, whose weight has another shape
        return module.in_features * module.out_features
    return int(module.weight.numel()) if isinstance(module, Conv1D) else 0


def _unreadable(what: str, folder: Path, error: Exception) -> JobError:
    return JobError(
        f"The base model's {what} in {folder} cannot be read ({first_line(error)}). "
        "Delete its folder under base-models/ in the artifacts bucket and run again to stage it anew."
    )


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end generation: the tokenizer's, and those of the generation config."""
    configured = model.generation_config.eos_token_id
    extra = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [tokenizer.eos_token_id, *extra] if token is not None)


def add_adapter(base: Any, settings: Hyperparameters) -> Any:
    """Add a new LoRA adapter to every linear layer except the output head (GPT-2's Conv1D included)."""
    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=2 * settings.lora_rank,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, config)


def load_adapter(base: Any, folder: Path, name: str) -> Any:
    """Add a trained adapter under `name` to the base model, or to a model that already has adapters.

    Raises:
        JobError: the folder has no adapter, or one for another base model.
    """
    try:
        if isinstance(base, PeftModel):
            base.load_adapter(folder, adapter_name=name)
            return base
        return PeftModel.from_pretrained(base, folder, adapter_name=name)
    except Exception as error:
        raise JobError(
            f"The {name} adapter in {folder} does not fit this base model ({first_line(error)}). "
            "Train it again on this base."
        ) from error


def save_adapter(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the adapter in PEFT's layout, and the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    # peft records the base model's path, which exists in this container only.
    config = folder / "adapter_config.json"
    values = {**json.loads(config.read_text(encoding="utf-8")), "base_model_name_or_path": None}
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(folder)


def write_merged(base_model: Path, adapter: Path, folder: Path, device: torch.device) -> None:
    """Write the base model's weights with the adapter merged, with the base's own names and number format.

    The base model is loaded again from disk, because the model in memory may have been rounded.

    Raises:
        JobError: the adapter does not fit the base model.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(base_model, dtype="auto")
    adapted = load_adapter(model.to(device), adapter, "candidate")
    adapted.merge_and_unload(safe_merge=True).save_pretrained(folder)
