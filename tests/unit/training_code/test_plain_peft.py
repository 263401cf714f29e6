"""The adapter works without our code: plain peft opens and merges it, plain transformers reads the result."""

import time
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from storyloom_jobs.container import run_job
from storyloom_jobs.hardware import PrecisionConfig
from storyloom_jobs.lora_model import load_adapter, load_base
from storyloom_jobs.training.job import train
from tests.unit.tiny_model import chat_example, save_tiny_model, write_examples
from tests.unit.training_code.conftest import SMALL, TALES, Job

TOKENS = 48
OPENINGS = ("the sea", "the bell took", "and the")


def trained(root: Path, kind: Literal["llama", "gpt2"]) -> Job:
    """Train a job until it can reproduce some of the text."""
    base = save_tiny_model(root / "base", kind, chat=kind == "llama", spread=0.2)
    data = root / "ml" / "input" / "data"
    for part in ("train", "validation"):
        rows = [chat_example(n, tale) for n, tale in enumerate(TALES * 4)]
        plain = [{"story_id": str(n), "text": tale} for n, tale in enumerate(TALES * 4)]
        write_examples(data / part, rows if kind == "llama" else plain)
    (data / "model").symlink_to(base)
    job = Job(root / "ml")
    job.settings(**SMALL, epochs=6)
    assert run_job(lambda: train(job.paths, time.monotonic()), job.paths.failure) == 0
    return job


def told(model: Any, tokenizer: Any) -> list[list[int]]:
    """Generate the greedy continuation of each opening, as tokens."""
    model.eval()
    found = []
    for opening in OPENINGS:
        given = tokenizer(opening, return_tensors="pt")
        with torch.no_grad():
            written = model.generate(
                **given, max_new_tokens=TOKENS, do_sample=False, pad_token_id=tokenizer.eos_token_id
            )
        found.append(written[0, given["input_ids"].shape[1] :].tolist())
    return found


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_plain_peft_opens_and_merges_it_and_generates_the_same_text(
    kind: Literal["llama", "gpt2"], tmp_path: Path
) -> None:
    job = trained(tmp_path, kind)
    base, adapter = tmp_path / "base", job.root / "model"
    tokenizer: Any = AutoTokenizer.from_pretrained(adapter)
    bare: Any = AutoModelForCausalLM.from_pretrained(base)
    before = told(bare, tokenizer)

    ours = load_adapter(load_base(base, PrecisionConfig(torch.device("cpu"), torch.float32)), adapter, "mine")
    expected = told(ours, tokenizer)
    assert expected != before, "the adapter changes what is told"

    opened: Any = PeftModel.from_pretrained(bare, adapter)
    assert told(opened, tokenizer) == expected
    opened.merge_and_unload().save_pretrained(tmp_path / "merged")
    merged: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert told(merged, tokenizer) == expected
