"""The training job as a whole, on a tiny model."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from storyloom_jobs.container import run_job
from storyloom_jobs.loss import ChunkedLoss, measure_loss
from storyloom_jobs.tokenization import collate, read_examples, tokenize
from storyloom_jobs.training.job import train
from tests.unit.tiny_model import save_tiny_model, write_examples
from tests.unit.training_code.conftest import CODE, SMALL, TALES, Job, make_job


def run(job: Job) -> int:
    return run_job(lambda: train(job.paths, time.monotonic()), job.paths.failure)


def weights(job: Job) -> dict[str, torch.Tensor]:
    return load_file(job.root / "model" / "adapter_model.safetensors")


def test_it_learns_and_writes_all_files_of_the_contract(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(job) == 0
    names = {path.name for path in (job.root / "model").iterdir()}
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "training.json",
        "metrics.jsonl",
    } <= names
    result = job.result()
    assert result["ended_by"] == "all epochs" and result["steps"] == result["planned_steps"]
    assert result["settings"]["lora_rank"] == 4
    assert re.fullmatch("[0-9a-f]{64}", result["code_sha256"])
    assert result["metrics"]["validation_loss"] < result["metrics"]["validation_loss_before"] - 0.1
    out = capfd.readouterr().out
    assert re.search(r"^metric train_loss=([0-9.eE+-]+) step=1$", out, re.M)
    assert re.search(r"^metric validation_loss=([0-9.eE+-]+) step=0$", out, re.M)
    assert re.search(r"^metric tokens_per_second=([0-9.eE+-]+) step=1$", out, re.M)
    assert re.search(rf"^progress step={result['steps']} of={result['steps']} seconds=\d+ left=0$", out, re.M)
    assert "bell" not in out, "no story text in the log"
    rows = job.metrics()
    assert [row["step"] for row in rows] == list(range(result["steps"] + 1))
    assert rows[0]["validation_loss"] == pytest.approx(result["metrics"]["validation_loss_before"])


def test_the_saved_adapter_has_the_loss_that_was_reported(job: Job, base_model: Path) -> None:
    assert run(job) == 0
    config = json.loads((job.root / "model" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None, "no path of the machine that trained it"
    adapted = {name.split(".")[-1] for name in config["target_modules"]}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    base: Any = AutoModelForCausalLM.from_pretrained(base_model)
    model = PeftModel.from_pretrained(base, job.root / "model")
    tokenizer: Any = AutoTokenizer.from_pretrained(job.root / "model")
    examples = read_examples(job.paths.validation, "validation")
    rows = tokenize(examples, tokenizer, frozenset([tokenizer.eos_token_id]), 160)
    loss = measure_loss(ChunkedLoss(model), [collate([row], torch.device("cpu")) for row in rows]).mean
    assert loss == pytest.approx(job.result()["metrics"]["validation_loss"], rel=1e-5)


def test_the_same_seed_gives_the_same_adapter_and_another_does_not(
    job: Job, tmp_path: Path, base_model: Path
) -> None:
    again = make_job(tmp_path / "again", base_model)
    other = make_job(tmp_path / "other", base_model)
    other.settings(**SMALL, epochs=3, seed=5)
    assert run(job) == run(again) == run(other) == 0
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(job).items())
    assert any(not torch.equal(value, weights(other)[name]) for name, value in weights(job).items())


def test_it_ends_within_its_time_and_keeps_its_best(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    job.settings(**SMALL, epochs=1000, max_seconds=4, patience=1000)
    started = time.process_time()  # of which a busy machine gives no more than of the clock's
    assert run(job) == 0
    assert time.process_time() - started < 6
    result = job.result()
    assert result["ended_by"] == "time" and 3 < result["seconds"] < 4.5
    told = re.findall(r"^progress step=\d+ of=\d+ seconds=(\d+) left=(\d+)$", capfd.readouterr().out, re.M)
    assert told and all(int(seconds) + int(left) <= 5 for seconds, left in told), "no more than it may take"
    assert result["metrics"]["validation_loss"] < result["metrics"]["validation_loss_before"]
    assert job.metrics()[-1]["learning_rate"] < 0.1 * SMALL["learning_rate"], "the cosine came to its end"


def test_it_stops_when_the_validation_loss_no_longer_falls(job: Job) -> None:
    write_examples(
        job.root / "input" / "data" / "validation",
        [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "ZQX#" * 20}]}],
    )
    job.settings(**{**SMALL, "learning_rate": 0.1}, epochs=200, patience=2)
    assert run(job) == 0
    result = job.result()
    assert result["ended_by"] == "no more improvement"
    assert result["steps"] < result["planned_steps"]
    assert result["metrics"]["best_step"] < result["steps"]


def test_gpt2_trains_on_plain_text(tmp_path: Path) -> None:
    base = save_tiny_model(tmp_path / "gpt2", "gpt2", chat=False)
    job = make_job(tmp_path / "ml", base)
    for part in ("train", "validation"):
        write_examples(
            job.root / "input" / "data" / part, [{"story_id": "1", "text": tale} for tale in TALES * 3]
        )
    assert run(job) == 0
    result = job.result()
    assert result["metrics"]["validation_loss"] < result["metrics"]["validation_loss_before"] - 0.1
    assert {"c_attn", "c_proj", "c_fc"} == {name.split(".")[-3] for name in weights(job)}


@pytest.fixture
def memory_for_few_tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the model run out of memory for more than 160 tokens."""
    gradients = ChunkedLoss.backward

    def backward(self: Any, batch: Any, divisor: float) -> float:
        if batch.input_ids.numel() > 160:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradients(self, batch, divisor)

    monkeypatch.setattr(ChunkedLoss, "backward", backward)
    yield


def test_out_of_memory_it_halves_the_batch_and_trains_the_same(
    job: Job, tmp_path: Path, base_model: Path, request: pytest.FixtureRequest
) -> None:
    roomy = make_job(tmp_path / "roomy", base_model)
    assert run(roomy) == 0
    request.getfixturevalue("memory_for_few_tokens")
    assert run(job) == 0
    assert job.result()["memory_ran_out"] == ["step 1: 160 tokens at once"], "half the batch, once"
    assert not roomy.result()["memory_ran_out"]
    for name, value in weights(roomy).items():
        torch.testing.assert_close(weights(job)[name], value, rtol=1e-2, atol=1e-3)


def test_no_memory_for_one_row_is_an_error(
    job: Job, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def backward(*_: Any, **__: Any) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ChunkedLoss, "backward", backward)
    assert run(job) == 1
    assert "gradient checkpointing" in capfd.readouterr().out
    assert "does not hold one row" in job.paths.failure.read_text()


def spoil_weights(job: Job) -> None:
    folder = job.paths.base_model.resolve()
    copy = job.root / "spoilt"
    shutil.copytree(folder, copy)
    state = load_file(copy / "model.safetensors")
    save_file(
        {name: torch.full_like(value, float("nan")) for name, value in state.items()},
        copy / "model.safetensors",
        metadata={"format": "pt"},
    )
    job.paths.base_model.unlink()
    job.paths.base_model.symlink_to(copy)


def cut_weights(job: Job) -> None:
    copy = job.root / "cut"
    shutil.copytree(job.paths.base_model.resolve(), copy)
    (copy / "model.safetensors").write_bytes(b"not weights")
    job.paths.base_model.unlink()
    job.paths.base_model.symlink_to(copy)


def no_end_token(job: Job) -> None:
    job.paths.base_model.unlink()
    save_tiny_model(job.paths.base_model, end=False)


def no_examples(job: Job) -> None:
    (job.paths.train / "examples.jsonl").unlink()


def one_example(job: Job) -> None:
    examples = job.paths.train / "examples.jsonl"
    examples.write_text(examples.read_text().splitlines()[0])


def unknown_base(job: Job) -> None:
    copy = job.root / "unknown"
    shutil.copytree(job.paths.base_model.resolve(), copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "of-tomorrow"}))
    job.paths.base_model.unlink()
    job.paths.base_model.symlink_to(copy)


def no_base(job: Job) -> None:
    job.paths.base_model.unlink()


def full_disk(job: Job) -> None:
    """Replace an output file by a device on which every write fails as on a full disk."""
    job.paths.model.mkdir()
    (job.paths.model / "training.json").symlink_to("/dev/full")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda job: job.settings(epochs="lots"), "epochs is 'lots'"),
        (no_examples, "The train dataset is empty"),
        (no_end_token, "no end token"),
        (spoil_weights, "not a number at step 1. Lower learning_rate"),
        (cut_weights, "cannot be read"),
        (one_example, "single short example"),
        (unknown_base, "cannot be read"),
        (no_base, "cannot be read"),
        (full_disk, "The job's disk is full"),
    ],
)
def test_each_failure_is_one_clear_message(
    job: Job, spoil: Any, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(job)
    assert run(job) == 1
    message = job.paths.failure.read_text()
    assert said in message and len(message) <= 1024
    assert capfd.readouterr().err.splitlines()[-1] == message
    assert "Traceback" not in message and not any(word in message for word in ("bell", "sea"))


def test_the_script_imports_the_package_beside_it_in_a_folder_named_code(job: Job) -> None:
    code = job.root / "input" / "data" / "code"
    shutil.copytree(CODE, code, ignore=shutil.ignore_patterns("__pycache__"))
    process = subprocess.run(
        [sys.executable, str(code / "train.py")],
        env={"PATH": os.environ["PATH"], "SM_MODEL_DIR": str(job.paths.model), "HOME": str(job.root)},
        cwd=job.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "progress step=1 " in process.stdout
    assert job.result()["ended_by"] == "all epochs"
