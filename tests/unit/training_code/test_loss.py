from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import Gemma2Config, Gemma2ForCausalLM

from tests.unit.tiny_model import VOCABULARY, save_tiny_model
from training_code.data import NOT_TAUGHT, TokenSequence, collate
from training_code.hyperparameters import Hyperparameters
from training_code.loss import ChunkedLoss
from training_code.model import add_adapter, load_base
from training_code.perplexity import measure
from training_code.precision import Numerics

CPU = Numerics(torch.device("cpu"), torch.float32)


def rows(count: int = 5, longest: int = 90) -> list[TokenSequence]:
    chance = torch.Generator().manual_seed(3)
    lengths = [longest - 13 * place for place in range(count)]
    return [
        TokenSequence(
            tuple(torch.randint(0, 256, (length,), generator=chance).tolist()),
            tuple(place > length // 3 for place in range(length)),
        )
        for length in lengths
    ]


def with_adapter(base: Any) -> Any:
    model = add_adapter(base, Hyperparameters(lora_rank=4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return model


def capped() -> Any:
    """Gemma 2 caps its logits after the head."""
    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=0.5,
        initializer_range=0.5,
    )
    model: Any = Gemma2ForCausalLM(config)
    return model.requires_grad_(False)


@pytest.fixture(params=["llama", "gpt2", "gemma2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    torch.manual_seed(0)
    if request.param == "gemma2":
        return with_adapter(capped())
    return with_adapter(load_base(save_tiny_model(tmp_path, request.param), CPU))


def test_loss_and_gradient_are_those_of_the_whole_logits(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training_code.loss.CHUNK_TOKENS", 16)
    batch = collate(rows(), CPU.device)
    logits = model(input_ids=batch.input_ids).logits
    expected = functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=NOT_TAUGHT)
    torch.autograd.backward(expected)
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    loss = ChunkedLoss(model).backward(batch, divisor=batch.taught_tokens)

    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert gradients and any(float(gradient.abs().max()) > 1e-4 for gradient in gradients.values())
    for name, parameter in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)


def test_only_a_plain_head_is_applied_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert ChunkedLoss(load_base(save_tiny_model(tmp_path), CPU))._head_is_plain
    assert not ChunkedLoss(capped())._head_is_plain


def test_padding_and_company_change_nothing(model: Any) -> None:
    """Each row scores the same alone as beside longer ones: nothing is seen across rows or from padding."""
    losses = ChunkedLoss(model)
    together = measure(losses, [collate(rows(), CPU.device)])
    apart = measure(losses, [collate([row], CPU.device) for row in rows()])
    assert together.nats == pytest.approx(apart.nats, rel=1e-5)
    assert together.tokens == apart.tokens == sum(sum(row.taught[1:]) for row in rows())
