"""Loads the base model and one merged copy of it for each adapter.

An unmerged adapter costs a third of the speed on a CPU; a merged copy of a small model costs 270 MB.
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D

from local.endpoint_server.config import ServingConfig, ServingConfigError

FINGERPRINT_DIGITS = 16
PROBE_SECONDS = 0.1


@dataclass(frozen=True)
class LoadedModel:
    """One model that can be asked by name."""

    name: str
    network: Any
    fingerprint: str
    """First 16 hex digits of the sha256 of what makes it itself: the adapter's weights, or the base's."""


@dataclass(frozen=True)
class LoadedModels:
    """All models of a folder, and what they share."""

    by_name: dict[str, LoadedModel]
    tokenizer: Any
    end_tokens: frozenset[int]
    max_length: int
    default_temperature: float
    default_top_p: float
    repetition_penalty: float

    @property
    def vocabulary(self) -> int:
        """The size of the vocabulary, to which adapters add nothing."""
        return int(next(iter(self.by_name.values())).network.config.vocab_size)


def load_models(config: ServingConfig) -> LoadedModels:
    """Load everything that `config` names, in the number format that is fast on this processor."""
    dtype = fast_dtype() if config.dtype == "auto" else getattr(torch, config.dtype)
    tokenizer: Any = AutoTokenizer.from_pretrained(config.base)
    if config.chat_template is not None:
        tokenizer.chat_template = config.chat_template
    base = _load(config.base, dtype)
    if config.adapters:
        _refuse_conv1d(base)
    # By whichever of its names it was asked, it answers by the first, as in vLLM.
    first = LoadedModel(config.base_names[0], base, _fingerprint(sorted(config.base.glob("*.safetensors"))))
    models = dict.fromkeys(config.base_names, first)
    for adapter in config.adapters:
        weights = adapter.path / "adapter_model.safetensors"
        merged = _merge(config.base, adapter.path, dtype)
        models[adapter.name] = LoadedModel(adapter.name, merged, _fingerprint([weights]))
    generation = base.generation_config

    def default(name: str) -> float:
        own = getattr(generation, name, None)
        return config.generation.get(name, 1.0 if own is None else float(own))

    context = getattr(base.config, "max_position_embeddings", None) or config.max_length
    return LoadedModels(
        by_name=models,
        tokenizer=tokenizer,
        end_tokens=_end_tokens(tokenizer, generation.eos_token_id),
        max_length=min(config.max_length, context),
        default_temperature=default("temperature"),
        default_top_p=default("top_p"),
        repetition_penalty=default("repetition_penalty"),
    )


def fast_dtype() -> torch.dtype:
    """Return bf16 if matrix products are measurably faster in it than in fp32: processor flags mislead."""
    faster = _products(torch.bfloat16) > _products(torch.float32)
    return torch.bfloat16 if faster else torch.float32


def _products(dtype: torch.dtype) -> int:
    """Count the products of the size of a prompt's feed-forward layer that fit into PROBE_SECONDS."""
    left, right = torch.ones(256, 1024, dtype=dtype), torch.ones(1024, 2048, dtype=dtype)
    torch.mm(left, right)  # the first call compiles and packs
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < PROBE_SECONDS:
        torch.mm(left, right)
        count += 1
    return count


def _load(folder: Path, dtype: torch.dtype) -> Any:
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return network.eval()


def _refuse_conv1d(network: Any) -> None:
    """Refuse adapters on a GPT-2: peft can, but vLLM cannot, and what works here must work there."""
    if any(isinstance(module, Conv1D) for module in network.modules()):
        raise ServingConfigError(
            f"{type(network).__name__} does not support LoRA in vLLM. Serve merged weights instead: no "
            "lora-modules, and `model` the folder that has them."
        )


def _merge(base: Path, adapter: Path, dtype: torch.dtype) -> Any:
    """Return a copy of the base with the adapter merged into its weights, in fp32 and rounded once."""
    network: Any = PeftModel.from_pretrained(_load(base, torch.float32), adapter)
    return network.merge_and_unload().to(dtype).eval()


def _end_tokens(tokenizer: Any, configured: int | list[int] | None) -> frozenset[int]:
    tokens = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [tokenizer.eos_token_id, *tokens] if token is not None)


def _fingerprint(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while piece := opened.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()[:FINGERPRINT_DIGITS]
