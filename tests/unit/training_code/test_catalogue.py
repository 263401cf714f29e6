"""A tiny model of every architecture in the catalogue trains, is scored and is merged."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from contracts.catalogue import CATALOGUE
from storyloom_jobs.container import ProcessingPaths
from storyloom_jobs.evaluation import job as evaluation_job
from storyloom_jobs.evaluation.job import evaluate
from storyloom_jobs.training.job import train
from tests.unit.tiny_model import VOCABULARY, chat_example, tiny_tokenizer, write_examples
from tests.unit.training_code.conftest import SMALL, TALES, Job, archive_model

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
    "pad_token_id": VOCABULARY - 3,
    "bos_token_id": VOCABULARY - 2,
    "eos_token_id": VOCABULARY - 1,
}
# Shorter than the rows: one layer looks back so far only, as five of six do in the real one.
GEMMA = {**SHAPE, "sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def _smollm2() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True))


def _llama_3() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True, rope_parameters=LLAMA_3_ROPE))


def _llama_3_8b() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=False, rope_parameters=LLAMA_3_ROPE))


def _qwen3() -> Any:
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE, tie_word_embeddings=True))


def _gemma_3() -> Any:
    return Gemma3ForCausalLM(Gemma3TextConfig(**GEMMA))


def _gemma_3_with_eyes() -> Any:
    config = Gemma3Config(text_config=GEMMA, vision_config=VISION, mm_tokens_per_image=4)
    return Gemma3ForConditionalGeneration(config)


def _gpt2() -> Any:
    ends = {"bos_token_id": VOCABULARY - 1, "eos_token_id": VOCABULARY - 1}
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=512, **ends)
    )


BUILT: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "smollm2": (_smollm2, ("smollm2-135m", "smollm2-360m", "smollm2-1.7b")),
    "qwen3": (_qwen3, ("qwen3-0.6b", "qwen3-1.7b", "qwen3-4b")),
    "llama-3.2": (_llama_3, ("llama-3.2-1b", "llama-3.2-3b")),
    "llama-3.1-8b": (_llama_3_8b, ("llama-3.1-8b",)),
    "gemma-3-1b": (_gemma_3, ("gemma-3-1b",)),
    "gemma-3-4b": (_gemma_3_with_eyes, ("gemma-3-4b",)),
    "gpt2": (_gpt2, ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")),
}


def test_every_model_of_the_catalogue_has_a_tiny_model() -> None:
    assert sorted(name for _, names in BUILT.values() for name in names) == sorted(CATALOGUE)


@pytest.mark.aws_fact
@pytest.mark.parametrize("kind", BUILT)
def test_each_architecture_is_trained_scored_and_merged(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    base = tmp_path / "base"
    BUILT[kind][0]().save_pretrained(base)
    tiny_tokenizer().save_pretrained(base)
    (base / "staged.json").write_text(json.dumps({"files": {}, "hosting": "merged"}), encoding="utf-8")
    data = tmp_path / "ml" / "input" / "data"
    write_examples(data / "train", [chat_example(n, TALES[n % 3]) for n in range(12)])
    write_examples(data / "validation", [chat_example(n, TALES[n % 3]) for n in range(20, 23)])
    (data / "model").symlink_to(base)
    job = Job(tmp_path / "ml")
    job.settings(**SMALL, epochs=3)
    assert train(job.paths, time.monotonic()) == 0
    measured = job.result()["metrics"]
    assert measured["validation_loss"] < measured["validation_loss_before"]

    inputs = tmp_path / "processing" / "input"
    write_examples(inputs / "test", [chat_example(n, TALES[n % 3]) for n in range(30, 34)])
    (inputs / "train").symlink_to(data / "train")
    archive_model(job.root / "model", inputs / "candidate")
    (inputs / "model").symlink_to(base)
    monkeypatch.setitem(evaluation_job.GENERATION_SECONDS, "cpu", 0.2)
    paths = ProcessingPaths.from_environment({"LOCAL_AWS_PROCESSING_ROOT": str(tmp_path / "processing")})
    assert evaluate(paths) == 0
    scores = json.loads((paths.output / "evaluation.json").read_text())
    assert scores["candidate"]["perplexity"] < scores["base"]["perplexity"]

    merged = AutoModelForCausalLM.from_pretrained(paths.output / "merged", dtype=torch.float32)
    whole: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(whole, job.root / "model")
    row = torch.arange(5, 65)[None]
    with torch.no_grad():
        torch.testing.assert_close(
            merged.eval()(input_ids=row).logits, adapted.eval()(input_ids=row).logits, rtol=1e-2, atol=1e-2
        )
