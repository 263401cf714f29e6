from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from storyloom_jobs.hardware import PrecisionConfig
from storyloom_jobs.hyperparameters import Hyperparameters
from storyloom_jobs.lora_model import add_adapter, load_base
from storyloom_jobs.merged_lora import MergedAdapters
from tests.unit.tiny_model import save_tiny_model

CPU = PrecisionConfig(torch.device("cpu"), torch.float32)


@pytest.fixture
def model(tmp_path: Path) -> Any:
    torch.manual_seed(0)
    adapted = add_adapter(load_base(save_tiny_model(tmp_path), CPU), Hyperparameters(lora_rank=4))
    return with_something_learnt(adapted)


def with_something_learnt(model: Any) -> Any:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return model


def loss_and_gradients(model: Any) -> tuple[float, dict[str, torch.Tensor]]:
    tokens = torch.arange(5, 45).reshape(2, 20)
    model.zero_grad()
    loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    return float(loss), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradients_match_peft(model: Any) -> None:
    expected_loss, expected = loss_and_gradients(model)
    MergedAdapters(model)

    loss, gradients = loss_and_gradients(model)

    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert gradients.keys() == expected.keys() and expected
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def test_a_refresh_merges_the_changed_adapter(model: Any) -> None:
    merged = MergedAdapters(model)
    before, _ = loss_and_gradients(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(10)
    assert loss_and_gradients(model)[0] == before
    merged.refresh()
    assert loss_and_gradients(model)[0] != before


def test_the_state_dict_stays_that_of_peft(model: Any) -> None:
    names = set(model.state_dict())
    MergedAdapters(model)
    assert set(model.state_dict()) == names


def test_layers_that_are_not_plain_are_not_merged(tmp_path: Path) -> None:
    llama = save_tiny_model(tmp_path / "llama")
    assert MergedAdapters.can_merge(add_adapter(load_base(llama, CPU), Hyperparameters(lora_rank=4)))
    assert not MergedAdapters.can_merge(
        add_adapter(load_base(llama, CPU), Hyperparameters(lora_rank=4, lora_dropout=0.1))
    )
    gpt2 = save_tiny_model(tmp_path / "gpt2", "gpt2")
    assert not MergedAdapters.can_merge(add_adapter(load_base(gpt2, CPU), Hyperparameters(lora_rank=4)))
    dora = LoraConfig(use_dora=True, target_modules="all-linear", task_type="CAUSAL_LM")
    assert not MergedAdapters.can_merge(get_peft_model(load_base(llama, CPU), dora))
