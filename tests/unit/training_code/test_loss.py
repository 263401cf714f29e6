from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import Gemma2Config, Gemma2ForCausalLM, MistralConfig, MistralForCausalLM

from storyloom_jobs.hardware import PrecisionConfig
from storyloom_jobs.hyperparameters import Hyperparameters
from storyloom_jobs.lora_model import add_adapter, load_base
from storyloom_jobs.loss import ChunkedLoss
from storyloom_jobs.packed_attention import use_packed_attention
from storyloom_jobs.tokenization import IGNORE_INDEX, TokenSequence, collate, in_batches
from tests.unit.tiny_model import VOCABULARY, save_tiny_model

CPU = PrecisionConfig(torch.device("cpu"), torch.float32)


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


def capped(attention_cap: float | None = None) -> Any:
    """Gemma 2 caps its logits after the head, and can cap those of its attention."""
    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=0.5,
        attn_logit_softcapping=attention_cap,
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


def one_by_one(model: Any) -> torch.Tensor:
    """Compute the mean token loss with plain transformers, a row at a time."""
    nats, num_tokens = torch.zeros(()), 0
    for row in rows():
        tokens = torch.tensor([row.tokens])
        labels = torch.where(torch.tensor([row.loss_mask])[:, 1:], tokens[:, 1:], IGNORE_INDEX)
        logits = model(input_ids=tokens).logits[0, :-1]
        nats = nats + functional.cross_entropy(logits, labels[0], ignore_index=IGNORE_INDEX, reduction="sum")
        num_tokens += int((labels != IGNORE_INDEX).sum())
    return nats / num_tokens


def test_packed_loss_and_gradient_are_those_of_each_row_s_whole_logits(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storyloom_jobs.loss.CHUNK_TOKENS", 16)
    expected = one_by_one(model)
    torch.autograd.backward(expected)
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    packs = use_packed_attention(model.get_base_model())
    losses = ChunkedLoss(model)
    batches = list(in_batches(rows(), 10_000 if packs else 0, CPU.device))
    loss = sum(
        losses.backward(batch, divisor=sum(each.num_loss_tokens for each in batches)) for batch in batches
    )

    assert len(batches) == 1
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert gradients and any(float(gradient.abs().max()) > 1e-4 for gradient in gradients.values())
    for name, parameter in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)


def test_only_a_separable_head_is_applied_in_chunks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert ChunkedLoss(load_base(save_tiny_model(tmp_path), CPU))._is_head_separable
    assert not ChunkedLoss(capped())._is_head_separable


def test_a_packed_story_does_not_change_another_storys_loss_by_a_bit(model: Any) -> None:
    """The gradients are equal as well."""
    assert use_packed_attention(model.get_base_model())
    first, second, *_ = rows()
    other = TokenSequence(tuple(reversed(second.tokens)), second.loss_mask)
    alone = TokenSequence(second.tokens, (False,) * len(second))  # packed beside it, but not in the loss
    losses = ChunkedLoss(model)
    beside = [
        collate([first, alone], CPU.device),
        collate([first, replace(other, loss_mask=alone.loss_mask)], CPU.device),
    ]

    assert losses.total_loss(beside[0]) == losses.total_loss(beside[1])
    gradients = []
    for batch in beside:
        model.zero_grad()
        losses.backward(batch, divisor=1)
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


def test_long_rows_use_the_models_sliding_window(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=16,
    )
    model: Any = MistralForCausalLM(config).requires_grad_(False)
    model = with_adapter(model)
    expected = float(one_by_one(model))
    assert use_packed_attention(model.get_base_model())
    batch = collate(rows(), CPU.device)
    assert ChunkedLoss(model).total_loss(batch) / batch.num_loss_tokens == pytest.approx(expected, rel=1e-5)


def test_a_model_with_its_own_attention_keeps_it() -> None:
    model = capped(attention_cap=0.01)
    model.set_attn_implementation("eager")
    before = model.config._attn_implementation
    assert not use_packed_attention(model)
    assert model.config._attn_implementation == before
