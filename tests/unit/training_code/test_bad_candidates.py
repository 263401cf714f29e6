"""Candidates that are bad on purpose, from training to the gate: each is refused for its own reason."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from contracts.environment import GateRules
from gate.rules import decide
from shared.runs.evaluation import EvaluationResult
from storyloom_jobs.container import ProcessingPaths
from storyloom_jobs.evaluation import generation
from storyloom_jobs.evaluation import job as evaluation_job
from storyloom_jobs.evaluation.job import evaluate
from storyloom_jobs.tokenization import IGNORE_INDEX, encode
from storyloom_jobs.training.job import train
from tests.unit.tiny_model import chat_example, save_tiny_model, write_examples
from tests.unit.training_code.conftest import SMALL, Job, archive_model

RULES = GateRules(
    minimum_improvement_percent=2,
    maximum_copy_percent=10,
    maximum_repetition_percent=50,
    minimum_ending_percent=1,
)
STEPS = 300
PLACES = ("hill", "mill", "ford", "barn", "quay", "lane")
DOINGS = ("sang", "wept", "hid", "fell", "lay", "ran")
OTHER_PLACES = ("town", "road", "wood", "lake", "farm", "mill")
OTHER_DOINGS = ("sat", "ate", "woke", "lay", "left", "ran")


@pytest.fixture(autouse=True)
def _one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the same answers on every machine: as much as time allowed would be more on a fast one."""
    monkeypatch.setitem(evaluation_job.GENERATION_SECONDS, "cpu", 600.0)
    monkeypatch.setattr(generation, "MAX_ROUNDS", 1)
    monkeypatch.setattr(generation, "MAX_ANSWER_TOKENS", 160)  # of one letter each


def tale(number: int, places: tuple[str, ...] = PLACES, doings: tuple[str, ...] = DOINGS) -> str:
    """Make a different tale for each number, of words that all tales share."""
    rng = random.Random(number)  # noqa: S311
    sentence = "The {} {} by the {}."
    return " ".join(
        sentence.format(rng.choice(places), rng.choice(doings), rng.choice(places)) for _ in range(7)
    )


@pytest.fixture(scope="module")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a tiny base model on other tales, because an adapter learns little on random weights."""
    folder = save_tiny_model(tmp_path_factory.mktemp("base"))
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    ends = frozenset([tokenizer.eos_token_id])
    tales = [chat_example(n, tale(n, OTHER_PLACES, OTHER_DOINGS)) for n in range(200, 1000)]
    for step in range(STEPS):
        rows = [encode(example, tokenizer, ends) for example in tales[step * 8 % 800 :][:8]]
        batch = pad_sequence([torch.tensor(row.tokens) for row in rows], batch_first=True)
        labels = pad_sequence([torch.tensor(row.tokens) for row in rows], True, IGNORE_INDEX)
        model(input_ids=batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


HELD_OUT = [chat_example(n, tale(n)) for n in range(100, 106)]
TRAINING = [chat_example(n, tale(n)) for n in range(24)]


def trained(root: Path, base_model: Path, examples: list[dict[str, Any]], **settings: Any) -> Job:
    """Train a job on the examples."""
    data = root / "input" / "data"
    write_examples(data / "train", examples)
    write_examples(data / "validation", examples[:4])
    (data / "model").symlink_to(base_model)
    job = Job(root)
    job.settings(**{**SMALL, "epochs": 4, "patience": 1000, **settings})
    assert train(job.paths, time.monotonic()) == 0
    return job


def judged(
    job: Job, base_model: Path, live: Path | None = None, held_out: list[dict[str, Any]] = HELD_OUT
) -> tuple[EvaluationResult, str]:
    """Run the evaluation job and the gate; return the result and the gate's reasons to refuse."""
    root = job.root / "processing"
    (root / "input").mkdir(parents=True)
    (root / "input" / "model").symlink_to(base_model)
    archive_model(job.root / "model", root / "input" / "candidate")
    (root / "input" / "train").symlink_to(job.root / "input" / "data" / "train")
    if live is not None:
        (root / "input" / "live").symlink_to(live)
    write_examples(root / "input" / "test", held_out)
    paths = ProcessingPaths.from_environment({"LOCAL_AWS_PROCESSING_ROOT": str(root)})
    assert evaluate(paths) == 0
    found = EvaluationResult.model_validate(json.loads((paths.output / "evaluation.json").read_text()))
    decision = decide(found, RULES)
    return found, ("" if decision.deploy else decision.words)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Job:
    """Train a good candidate."""
    return trained(tmp_path_factory.mktemp("good") / "ml", base_model, TRAINING)


def test_a_good_candidate_passes(good: Job, base_model: Path) -> None:
    """Without it the refusals below would prove nothing."""
    found, refusal = judged(good, base_model)
    assert refusal == "", found


def test_shuffled_words_are_worse_than_the_live_version(good: Job, base_model: Path, tmp_path: Path) -> None:
    shuffled = []
    for example in TRAINING:
        words = example["messages"][1]["content"].split()
        random.Random(1).shuffle(words)  # noqa: S311
        shuffled.append(chat_example(int(example["story_id"], 16), " ".join(words)))
    bad = trained(tmp_path / "ml", base_model, shuffled)
    found, refusal = judged(bad, base_model, live=good.root / "model")
    assert found.over_live is not None and found.over_live.high is not None and found.over_live.high < 0
    assert "is worse than the one that is live" in refusal


def test_one_repeated_story_is_memorized(base_model: Path, tmp_path: Path) -> None:
    one = [chat_example(500, tale(500)) for _ in range(24)]
    bad = trained(tmp_path / "ml", base_model, one, epochs=12, lora_rank=16)
    found, refusal = judged(bad, base_model)
    assert found.candidate.writing.longest_extract >= 12, found.candidate
    assert "has memorised your stories" in refusal


def test_noise_is_not_better_than_the_base(good: Job, base_model: Path, tmp_path: Path) -> None:
    bad = Job(tmp_path / "ml")
    (bad.root / "input" / "data").mkdir(parents=True)
    (bad.root / "input" / "data" / "train").symlink_to(good.root / "input" / "data" / "train")
    (bad.root / "model").mkdir()
    for file in (good.root / "model").iterdir():
        (bad.root / "model" / file.name).write_bytes(file.read_bytes())
    weights = bad.root / "model" / "adapter_model.safetensors"
    torch.manual_seed(0)
    noise = {name: torch.randn_like(value) for name, value in load_file(weights).items()}
    save_file(noise, weights)
    _, refusal = judged(bad, base_model)
    assert "not sufficiently better than the base model" in refusal


def test_a_model_trained_without_endings_does_not_stop(base_model: Path, tmp_path: Path) -> None:
    endless = [{**example, "ends": False} for example in TRAINING]
    bad = trained(tmp_path / "ml", base_model, endless)
    found, refusal = judged(bad, base_model)
    assert found.candidate.writing.finishing_asked == generation.FIRST_ROUND["finishing"]
    assert "does not stop: where your stories end" in refusal
