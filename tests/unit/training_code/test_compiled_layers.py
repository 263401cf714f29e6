"""Compiled layers train like uncompiled ones."""

from pathlib import Path

import pytest
import torch

from storyloom_jobs.cpu import kernels
from storyloom_jobs.hardware import PrecisionConfig
from storyloom_jobs.hyperparameters import Hyperparameters
from storyloom_jobs.lora_model import add_adapter, load_base
from storyloom_jobs.tokenization import TokenSequence
from storyloom_jobs.training.checkpoints import TrainingProgress
from storyloom_jobs.training.distributed import ProcessGroup
from storyloom_jobs.training.forward_backward import ForwardBackward
from tests.unit.tiny_model import save_tiny_model

CPU = PrecisionConfig(torch.device("cpu"), torch.float32)
STEPS = [(20, 12), (9, 30)]


Step = tuple[float, float, list[torch.Tensor]]
"""Loss, loss of a validation, gradients."""


def steps(folder: Path, *, compiled_too: bool) -> list[Step]:
    model = add_adapter(load_base(folder, CPU), Hyperparameters(lora_rank=4)).train()
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    progress = TrainingProgress(micro_batch_tokens=64)
    passes = ForwardBackward(
        model, CPU, ProcessGroup(), progress, merge=True, sharded=False, compiled=compiled_too
    )
    seen = []
    for lengths in STEPS:
        rows = [TokenSequence(tuple(range(5, 5 + length)), (True,) * length) for length in lengths]
        loss = passes.backward(rows)
        measured = passes.validation_loss(rows, lambda: False, None)
        assert measured is not None
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        seen.append((loss, measured[0], gradients))
    return seen


def test_compiled_layers_give_the_same_losses_and_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without the kernels of inductor, which take a minute to build and are not ours
    monkeypatch.setattr(kernels, "COMPILE_BACKEND", "aot_eager")
    base = save_tiny_model(tmp_path / "base")
    plain, ours = (steps(base, compiled_too=answer) for answer in (False, True))
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0, "nothing was compiled"
    for (loss, validation, gradients), (expected, expected_too, those) in zip(ours, plain, strict=True):
        assert loss == pytest.approx(expected, abs=1e-5)
        assert validation == pytest.approx(expected_too, abs=1e-5)
        for gradient, other in zip(gradients, those, strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-6)
