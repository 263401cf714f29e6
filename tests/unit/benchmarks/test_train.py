"""The training benchmark: its count of operations, and the contestants' turns."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from benchmarks import train_gpu
from benchmarks.train_data import random_rows, read_rows, write_rows
from benchmarks.train_limit import needed_flops_per_token
from benchmarks.train_turns import Contest, Contestant, ContestantProcess
from tests.unit.tiny_model import VOCABULARY, save_tiny_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base"))


def test_needed_operations_match_pytorchs_count(base: Path) -> None:
    """Forward and backward through frozen weights, without attention, which PyTorch counts uncut."""
    [row] = rows = random_rows(VOCABULARY, 32, 1)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    model.requires_grad_(False)
    embedded = model.get_input_embeddings()(torch.tensor([row.tokens])).requires_grad_()
    with FlopCounterMode(display=False) as counter:
        model(inputs_embeds=embedded, use_cache=False).logits.sum().backward()
    counted = counter.get_flop_counts()["Global"]
    linear = sum(count for name, count in counted.items() if "bmm" not in str(name))
    config = model.config
    attention = 6 * config.num_hidden_layers * config.hidden_size * 32
    untaught = 4 * config.hidden_size * VOCABULARY  # PyTorch's head ran on the first token as well
    expected = 32 * (needed_flops_per_token(base, rows, rank=0) - attention) + untaught
    assert linear == pytest.approx(expected, rel=1e-6)


def test_an_adapter_costs_four_operations_a_weight(base: Path) -> None:
    rows = random_rows(VOCABULARY, 32, 1)
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    linear = [
        layer for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and name != "lm_head"
    ]  # fmt: skip
    weights = sum(4 * (layer.in_features + layer.out_features) for layer in linear)
    added = needed_flops_per_token(base, rows, rank=4) - needed_flops_per_token(base, rows, rank=0)
    assert added == pytest.approx(4 * weights)


def test_a_contestant_trains_in_turns_and_saves_its_adapter(base: Path, tmp_path: Path) -> None:
    rows = random_rows(VOCABULARY, 32, 8)
    write_rows(rows, tmp_path / "rows.json")
    assert read_rows(tmp_path / "rows.json") == rows
    contest = Contest(str(base), str(tmp_path / "rows.json"), str(tmp_path), 32, 64, rank=2)
    contestant = Contestant("Storyloom", "storyloom", "fp32", processes=2)
    process = ContestantProcess(sys.executable, contest, contestant, os.environ)
    try:
        assert process.steps == 4
        assert process.warm_up.tokens == 64
        half, again = process.train(0.5), process.train(0.5)
        assert half is not None
        assert (half.tokens, half.ended) == (64, False)
        assert again is None
        last = process.train(1.0, profile=True)
        assert last is not None
        assert last.ended
        assert sum(share for _, share in last.profile) == pytest.approx(1, abs=0.5)
        process.finish()
    finally:
        process.stop()
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    adapter = PeftModel.from_pretrained(model, tmp_path / "storyloom").state_dict()
    assert any(float(value.abs().max()) > 0 for name, value in adapter.items() if "lora_B" in name)


def test_the_error_of_a_failed_contestant_has_its_log(tmp_path: Path) -> None:
    contest = Contest(str(tmp_path), str(tmp_path / "missing.json"), str(tmp_path), 32, 64)
    with pytest.raises(SystemExit, match=r"Storyloom ended with status 1(?s:.)*missing\.json"):
        ContestantProcess(sys.executable, contest, Contestant("Storyloom", "storyloom", "fp32"), os.environ)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_gpu_benchmark_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train_gpu", "--peers", sys.executable])
    with pytest.raises(SystemExit, match="no GPU that PyTorch can use"):
        train_gpu.main()
