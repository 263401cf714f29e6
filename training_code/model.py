"""Loading the base model and its tokenizer, putting the adapter on it, and saving the adapter."""

import json
import math
import os
from pathlib import Path
from typing import Any

# Jobs have no network. Without this, libraries first wait for time-outs to find that out.
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

from training_code.choices import BaseShape
from training_code.container import JobError, first_line
from training_code.hyperparameters import Hyperparameters, Quantization
from training_code.precision import Numerics

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def load_tokenizer(folder: Path) -> Any:
    """The base model's tokenizer.

    Raises:
        JobError: it cannot be read, or it has no end token.
    """
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # transformers raises many types here, all meaning the same
        raise _unreadable("tokenizer", folder, error) from error
    if tokenizer.eos_token_id is None:
        raise JobError(
            "The base model's tokenizer has no end token (eos_token), so a tuned model would never stop. "
            "Choose another base model, or set eos_token in its tokenizer_config.json."
        )
    return tokenizer


def base_shape(folder: Path) -> BaseShape:
    """Sizes of a base model, from its config and the heads of its weight files.

    Raises:
        JobError: they cannot be read.
    """
    try:
        config: Any = AutoConfig.from_pretrained(folder).get_text_config()
        parameters = sum(_count_weights(file) for file in folder.glob("*.safetensors"))
    except Exception as error:  # of transformers and safetensors, all meaning the same
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


def load_base(folder: Path, numerics: Numerics, quantization: Quantization = "none") -> Any:
    """The base model in `numerics`' format on its device, frozen, without the cache of generation.

    With `nf4` its linear layers, but for the head, are kept in 4 bits and multiply in that format.

    Raises:
        JobError: the folder holds no model that transformers can read.
    """
    in_4_bits: dict[str, Any] = {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=numerics.dtype,
        ),
        "device_map": {"": numerics.device},
    }
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=numerics.dtype, **(in_4_bits if quantization == "nf4" else {})
        )
    except Exception as error:
        raise _unreadable("model", folder, error) from error
    model.requires_grad_(False)
    return model if quantization == "nf4" else model.to(numerics.device)


def flops_per_token(model: Any, length: int) -> float:
    """Floating-point operations that training an adapter needs for a token in rows of `length` tokens.

    Two a weight forward and two backward to the layer below; the frozen weights themselves get no gradient.
    Attention looks at half the row on average. Recomputing anything is not counted: it is not needed.
    """
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    weights = sum(_products(module) for name, module in base.named_modules() if "lora_" not in name)
    config = base.config.get_text_config()
    attention: int = config.num_hidden_layers * config.hidden_size * length
    return 4.0 * weights + 6.0 * attention


def _products(module: Any) -> int:
    """Multiplications that a layer does for a token; 0 for what is not one linear layer."""
    if isinstance(module, torch.nn.Linear):  # 4-bit layers too, whose weight has another shape
        return module.in_features * module.out_features
    return int(module.weight.numel()) if isinstance(module, Conv1D) else 0


def _unreadable(what: str, folder: Path, error: Exception) -> JobError:
    return JobError(
        f"The base model's {what} in {folder} cannot be read ({first_line(error)}). "
        "Delete its folder under base-models/ in the artifacts bucket and run again to stage it anew."
    )


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token at which generation ends: the tokenizer's, and those of the generation config."""
    configured = model.generation_config.eos_token_id
    extra = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [tokenizer.eos_token_id, *extra] if token is not None)


def add_adapter(base: Any, settings: Hyperparameters) -> Any:
    """Put a new LoRA adapter on every linear layer but the output head (GPT-2's Conv1D included)."""
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
    """Put a trained adapter on the base, or on a model that already has others, under `name`.

    Raises:
        JobError: the folder holds no adapter, or one for another base.
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
    """Write the adapter in PEFT's layout with the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty form of a model card
    # peft notes where the base was read from: a path inside a container that is gone by then.
    config = folder / "adapter_config.json"
    values = {**json.loads(config.read_text(encoding="utf-8")), "base_model_name_or_path": None}
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(folder)
