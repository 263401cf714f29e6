import hashlib
import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.unit.tiny_model import chat_example, write_examples
from tests.unit.training_code.conftest import SMALL, TALES, make_job
from training_code.container import ProcessingPaths, run_job
from training_code.data import NOT_TAUGHT, collate, encode
from training_code.evaluate import evaluate
from training_code.report import to_html
from training_code.samples import CopyDetector, choose_prompts
from training_code.train import train

HELD_OUT = [chat_example(n, TALES[n % 3]) for n in range(30, 34)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Path:
    """A trained job; its folder `input` is laid out for the evaluation too."""
    job = make_job(tmp_path_factory.mktemp("trained"), base_model)
    job.settings(**SMALL, epochs=4)
    assert train(job.paths, time.monotonic()) == 0
    return job.root


@pytest.fixture
def paths(tmp_path: Path, trained: Path, base_model: Path) -> ProcessingPaths:
    root = tmp_path / "processing"
    (root / "input").mkdir(parents=True)
    (root / "input" / "model").symlink_to(base_model)
    (root / "input" / "candidate").symlink_to(trained / "model")
    (root / "input" / "train").symlink_to(trained / "input" / "data" / "train")
    write_examples(root / "input" / "test", HELD_OUT)
    return ProcessingPaths.from_environment({"STORYLOOM_PROCESSING_ROOT": str(root)})


def result_of(paths: ProcessingPaths) -> dict[str, Any]:
    assert evaluate(paths) == 0
    content: dict[str, Any] = json.loads((paths.output / "evaluation.json").read_text())
    return content


def test_it_tells_what_training_brought(paths: ProcessingPaths, trained: Path) -> None:
    result = result_of(paths)
    assert set(result) == {
        "base", "candidate", "live", "improvement_percent", "copy_rate", "samples", "adapter_sha256",
        "test_stories",
    }  # fmt: skip
    base, candidate = result["base"]["perplexity"], result["candidate"]["perplexity"]
    assert candidate < 0.9 * base
    assert result["improvement_percent"] == pytest.approx(100 * (base - candidate) / base, abs=0.01)
    assert result["live"] is None and result["test_stories"] == 4
    adapter = (trained / "model" / "adapter_model.safetensors").read_bytes()
    assert result["adapter_sha256"] == hashlib.sha256(adapter).hexdigest()
    assert len(result["samples"]) == 3
    assert all(set(sample) == {"prompt", "base", "candidate", "live"} for sample in result["samples"])


def test_the_base_perplexity_is_that_of_a_plain_computation(paths: ProcessingPaths, base_model: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(base_model)
    tokenizer: Any = AutoTokenizer.from_pretrained(base_model)
    nats, count = 0.0, 0
    with torch.no_grad():
        for example in HELD_OUT:
            row = encode(example, tokenizer, frozenset([tokenizer.eos_token_id]))
            batch = collate([row], model.device)
            logits = model(input_ids=batch.input_ids).logits
            nats += float(
                functional.cross_entropy(logits[0], batch.labels[0], ignore_index=NOT_TAUGHT, reduction="sum")
            )
            count += batch.taught_tokens
    result = result_of(paths)
    assert result["base"] == {"perplexity": pytest.approx(math.exp(nats / count), rel=0.01), "tokens": count}


def test_the_live_model_is_scored_beside_the_candidate(paths: ProcessingPaths, trained: Path) -> None:
    paths.live.symlink_to(trained / "model")
    result = result_of(paths)
    assert result["live"] == result["candidate"]
    assert result["samples"][0]["live"] == result["samples"][0]["candidate"] != result["samples"][0]["base"]


def test_an_adapter_of_another_base_is_refused_with_a_reason(paths: ProcessingPaths, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text('{"peft_type": "LORA", "target_modules": ["nothing_here"]}')
    paths.candidate.unlink()
    paths.candidate.symlink_to(broken)
    assert run_job(lambda: evaluate(paths), paths.failure) == 1
    assert "does not fit this base model" in paths.failure.read_text()


def test_the_page_is_one_file_that_runs_and_loads_nothing(paths: ProcessingPaths) -> None:
    result = result_of(paths)
    page = (paths.output / "evaluation.html").read_text()
    assert not re.search(r"<script|src=|href=|url\(|@import", page)
    assert f"{result['candidate']['perplexity']:.1f}" in page and "4 stories" in page


def test_what_a_model_wrote_cannot_become_markup() -> None:
    sample = {"prompt": "<b>?", "base": "<script>x</script>", "candidate": "a & b", "live": None}
    score = {"perplexity": 10.0, "tokens": 5}
    page = to_html(
        {
            "base": score, "candidate": score, "live": None, "improvement_percent": -1.0, "copy_rate": 0.0,
            "samples": [sample], "adapter_sha256": "0", "test_stories": 1,
        }
    )  # fmt: skip
    assert "<script" not in page and "&lt;script&gt;" in page and "a &amp; b" in page
    assert "did not learn" in page


def test_copied_runs_of_words_are_found() -> None:
    detector = CopyDetector(["The old bell rang twice, and nobody on the island came to see."])
    assert detector.rate(["the old bell rang twice and nobody on the island came"]) == 1.0
    assert detector.rate(["the old bell rang twice and then it sank in the deep green sea"]) == 0.0
    assert detector.rate(["too short"]) == 0.0


def test_samples_ask_for_different_stories_with_short_requests() -> None:
    examples = [
        chat_example(1, "a"),
        chat_example(1, "b"),
        chat_example(2, "c"),
        {"story_id": "x", "text": "One two."},
    ]
    assert choose_prompts(examples, 5) == ["One two.", "Tell me tale 1.", "Tell me tale 2."]
    assert len(choose_prompts(examples, 2)) == 2
