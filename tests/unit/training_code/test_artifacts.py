"""The record of an adapter has its inputs, and equal inputs give the same adapter."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from storyloom_jobs.artifacts import base_model_sha256, compute_sha256, folder_sha256
from storyloom_jobs.container import run_job
from storyloom_jobs.training.job import train
from tests.unit.training_code.conftest import Job, make_job

SETTINGS: dict[str, Any] = {
    "precision": "fp32", "sequence_length": 160, "batch_tokens": 320, "lora_rank": 4, "learning_rate": 0.02,
}  # fmt: skip
STEPS = 6
GOLDEN = [5.53759, 5.45357, 5.39866, 5.38759, 5.38028, 5.37656]
"""Losses of an earlier run; if they change, training has changed."""


def run(job: Job) -> dict[str, Any]:
    assert run_job(lambda: train(job.paths, time.monotonic()), job.paths.failure) == 0
    return job.result()


def test_the_losses_of_six_steps_are_the_golden_ones(job: Job) -> None:
    job.settings(**SETTINGS, epochs=2)
    run(job)
    losses = [row["train_loss"] for row in job.metrics() if row["train_loss"] is not None]
    assert losses[:STEPS] == pytest.approx(GOLDEN, abs=1e-4)


def test_two_runs_with_nothing_but_a_seed_given_write_the_same_file(
    job: Job, tmp_path: Path, base_model: Path
) -> None:
    again = make_job(tmp_path / "again", base_model)
    hashes = []
    for each in (job, again):
        each.settings(seed=3, precision="fp32")
        run(each)
        hashes.append(compute_sha256(each.root / "model" / "adapter_model.safetensors"))
    assert hashes[0] == hashes[1]
    first, second = job.result(), again.result()
    for name in ("settings", "chosen", "data_sha256", "base_model_sha256", "code_sha256", "seed"):
        assert first[name] == second[name]


def test_the_record_has_data_base_code_and_every_choice(job: Job) -> None:
    job.settings(seed=3, precision="fp32", base_revision="abc123", usd_per_hour="1.13", price_date="2026-09")
    result = run(job)
    assert set(result["chosen"]) >= {
        "epochs",
        "learning_rate",
        "lora_rank",
        "batch_tokens",
        "sequence_length",
    }
    for name, choice in result["chosen"].items():
        assert choice["value"] == result["settings"][name]
        assert len(choice["because"].split()) > 3
    assert result["settings"]["base_revision"] == "abc123"
    assert result["settings"]["price_date"] == "2026-09"
    assert job.metrics()[-1]["cost_usd"] is not None
    lines = (job.paths.train / "examples.jsonl").read_bytes()
    named = b"examples.jsonl\0" + hashlib.sha256(lines).hexdigest().encode() + b"\0"
    assert result["data_sha256"]["train"] == hashlib.sha256(named).hexdigest()


def test_other_data_has_another_hash(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("one")
    before = folder_sha256(tmp_path, "**/*.jsonl")
    (tmp_path / "notes.txt").write_text("no example")
    assert folder_sha256(tmp_path, "**/*.jsonl") == before
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    assert folder_sha256(tmp_path, "**/*.jsonl") != before


def test_a_staged_base_is_hashed_by_its_recorded_hashes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    plain = base_model_sha256(tmp_path)
    files = {"config.json": {"bytes": 2, "sha256": "aa"}, "model.safetensors": {"bytes": 9, "sha256": "bb"}}
    (tmp_path / "staged.json").write_text(json.dumps({"files": files}))
    staged = base_model_sha256(tmp_path)
    assert staged != plain
    (tmp_path / "staged.json").write_text(json.dumps({"files": dict(reversed(files.items()))}))
    assert base_model_sha256(tmp_path) == staged
