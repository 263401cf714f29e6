import base64
import hashlib
import json
import math
import random
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, TopPLogitsWarper

from shared.runs.evaluation import EvaluationResult
from storyloom_jobs.container import ProcessingPaths, run_job
from storyloom_jobs.evaluation import generation
from storyloom_jobs.evaluation import job as evaluation_job
from storyloom_jobs.evaluation.evaluation_page import render_page
from storyloom_jobs.evaluation.generation import make_prompt_rounds, user_message_of
from storyloom_jobs.evaluation.job import evaluate
from storyloom_jobs.hardware import choose_precision
from storyloom_jobs.tokenization import IGNORE_INDEX, collate, encode
from storyloom_jobs.training.job import train
from tests.unit.tiny_model import chat_example, write_examples
from tests.unit.training_code.conftest import SMALL, TALES, archive_model, make_job

HELD_OUT = [chat_example(n, TALES[n % 3]) for n in range(30, 35)]
_MAX_ROUNDS, _MAX_ANSWER_TOKENS = generation.MAX_ROUNDS, generation.MAX_ANSWER_TOKENS


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generate one round of short answers on every machine, because few tests depend on their length."""
    monkeypatch.setitem(evaluation_job.GENERATION_SECONDS, "cpu", 600.0)
    monkeypatch.setattr(generation, "MAX_ROUNDS", 1)
    monkeypatch.setattr(generation, "MAX_ANSWER_TOKENS", 60)


@pytest.fixture
def answers_for_a_second(_short_answers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Generate as many answers as a second allows: a tiny model generates hundreds of tokens in it."""
    monkeypatch.setitem(evaluation_job.GENERATION_SECONDS, "cpu", 1.0)
    monkeypatch.setattr(generation, "MAX_ROUNDS", _MAX_ROUNDS)
    monkeypatch.setattr(generation, "MAX_ANSWER_TOKENS", _MAX_ANSWER_TOKENS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Path:
    """Train a job whose folder `input` serves the evaluation too."""
    job = make_job(tmp_path_factory.mktemp("trained"), base_model)
    job.settings(**SMALL, epochs=4)
    assert train(job.paths, time.monotonic()) == 0
    return job.root


@pytest.fixture
def paths(tmp_path: Path, trained: Path, base_model: Path) -> ProcessingPaths:
    root = tmp_path / "processing"
    (root / "input").mkdir(parents=True)
    (root / "input" / "model").symlink_to(base_model)
    archive_model(trained / "model", root / "input" / "candidate")
    (root / "input" / "train").symlink_to(trained / "input" / "data" / "train")
    write_examples(root / "input" / "test", HELD_OUT)
    return ProcessingPaths.from_environment({"LOCAL_AWS_PROCESSING_ROOT": str(root)})


def result_of(paths: ProcessingPaths) -> dict[str, Any]:
    assert evaluate(paths) == 0
    content: dict[str, Any] = json.loads((paths.output / "evaluation.json").read_text())
    return content


@pytest.mark.usefixtures("answers_for_a_second")
def test_the_result_shows_the_improvement(paths: ProcessingPaths, trained: Path) -> None:
    result = result_of(paths)
    base, candidate = result["base"]["perplexity"], result["candidate"]["perplexity"]
    assert candidate < 0.9 * base
    over = result["over_base"]
    assert over["improvement_percent"] == pytest.approx(100 * (base - candidate) / base, abs=0.01)
    assert over["low"] <= over["improvement_percent"] <= over["high"]
    assert result["live"] is None and result["over_live"] is None and result["test_stories"] == 5
    adapter = (trained / "model" / "adapter_model.safetensors").read_bytes()
    assert result["adapter_sha256"] == hashlib.sha256(adapter).hexdigest()
    kinds = [sample["kind"] for sample in result["samples"]]
    assert kinds == ["telling"] * 4 + ["opening"] * 2


def test_the_result_is_exactly_what_the_gate_reads(paths: ProcessingPaths, trained: Path) -> None:
    paths.live.symlink_to(trained / "model")
    result = result_of(paths)
    assert EvaluationResult.model_validate(result).model_dump(mode="json") == result


def plain_losses(folder: Path, adapter: Path | None) -> dict[str, tuple[float, int]]:
    """Compute nats and tokens of each held-out story with transformers and peft alone."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    losses: defaultdict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for example in HELD_OUT:
        whole = tokenizer.apply_chat_template(example["messages"], tokenize=False)
        prompt = tokenizer.apply_chat_template(
            example["messages"][:1], tokenize=False, add_generation_prompt=True
        )
        tokens = torch.tensor(tokenizer(whole.removesuffix("\n"), add_special_tokens=False)["input_ids"])
        begin = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        with torch.no_grad():
            logits = model(input_ids=tokens[None]).logits[0]
        loss = functional.cross_entropy(logits[begin - 1 : -1], tokens[begin:], reduction="sum")
        losses[example["story_id"]] = (float(loss), len(tokens) - begin)
    return dict(losses)


def test_its_figures_match_a_plain_computation(
    paths: ProcessingPaths, base_model: Path, trained: Path
) -> None:
    result = result_of(paths)
    base, candidate = plain_losses(base_model, None), plain_losses(base_model, trained / "model")
    for name, losses in (("base", base), ("candidate", candidate)):
        nats, tokens = (sum(part) for part in zip(*losses.values(), strict=True))
        assert result[name]["tokens"] == tokens
        assert result[name]["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=0.01)

    draws = np.random.default_rng(3).integers(0, len(base), (20_000, len(base)))

    def means(losses: dict[str, tuple[float, int]]) -> Any:
        nats, tokens = np.array(list(losses.values())).T
        return nats[draws].sum(axis=1) / tokens[draws].sum(axis=1)

    better = 100 * (1 - np.exp(means(candidate) - means(base)))
    low, high = np.quantile(better, [0.025, 0.975])
    assert result["over_base"]["low"] == pytest.approx(low, abs=0.5)
    assert result["over_base"]["high"] == pytest.approx(high, abs=0.5)
    assert high - low > 0.01
    low, high = np.quantile(np.exp(means(candidate)), [0.025, 0.975])
    assert result["candidate"]["low"] == pytest.approx(low, rel=0.01)
    assert result["candidate"]["high"] == pytest.approx(high, rel=0.01)


def test_the_live_model_is_scored_beside_the_candidate(paths: ProcessingPaths, trained: Path) -> None:
    paths.live.symlink_to(trained / "model")
    result = result_of(paths)
    assert result["live"]["perplexity"] == result["candidate"]["perplexity"]
    over = result["over_live"]
    assert (over["improvement_percent"], over["low"], over["high"]) == (0, 0, 0)
    sample = result["samples"][0]
    assert sample["live"][:20] == sample["candidate"][:20] != sample["base"][:20]


def test_the_live_version_may_adapt_fewer_layers_than_the_candidate(
    paths: ProcessingPaths, trained: Path
) -> None:
    """An earlier recipe may have made it."""
    paths.live.mkdir()
    config = json.loads((trained / "model" / "adapter_config.json").read_text())
    (paths.live / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["q_proj"]}))
    weights = load_file(trained / "model" / "adapter_model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if ".q_proj." in name},
        paths.live / "adapter_model.safetensors",
    )
    result = result_of(paths)
    assert result["base"]["perplexity"] > result["live"]["perplexity"] > result["candidate"]["perplexity"]
    assert all(sample["live"] for sample in result["samples"])


def test_too_few_stories_are_replaced_by_passages_or_have_no_interval(paths: ProcessingPaths) -> None:
    one_story = [{**example, "story_id": "only"} for example in HELD_OUT]
    for held_out, drawn, units in ((one_story, "passage", 5), (HELD_OUT[:2], None, 0)):
        write_examples(paths.test, held_out)
        result = result_of(paths)
        assert (result["drawn"], result["drawn_from"]) == (drawn, units)
        assert (result["over_base"]["low"] is None) is (drawn is None)
        assert ("too few held-out stories" in (paths.output / "evaluation.html").read_text()) is (
            drawn is None
        )


def test_an_adapter_of_another_base_is_refused_with_a_reason(paths: ProcessingPaths, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text('{"peft_type": "LORA", "target_modules": ["nothing_here"]}')
    archive_model(broken, paths.candidate)
    assert run_job(lambda: evaluate(paths), paths.failure) == 1
    assert "does not fit this base model" in paths.failure.read_text()


def test_the_page_is_one_file_without_scripts_that_loads_nothing(paths: ProcessingPaths) -> None:
    result = result_of(paths)
    page = (paths.output / "evaluation.html").read_text()
    assert not re.search(r"<script|src=|href=|url\(|@import", page)
    assert f"{result['candidate']['perplexity']:.1f}" in page and "5 stories" in page
    assert page.count("<svg") == 3


def test_the_page_forbids_scripts_and_every_other_style_sheet(paths: ProcessingPaths) -> None:
    result_of(paths)
    page = (paths.output / "evaluation.html").read_text()
    (css,) = re.findall(r"<style>(.*?)</style>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert policy == (f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert " style=" not in page  # the policy would refuse it


def test_generated_text_is_escaped(paths: ProcessingPaths) -> None:
    result = result_of(paths)
    result["samples"] = [
        {"kind": "opening", "prompt": "<b>?", "begun": "<i>", "base": "<script>x</script>",
         "candidate": "a & b", "live": None}
    ]  # fmt: skip
    result["over_base"]["improvement_percent"] = -1.0
    page = render_page(result)
    assert "<script" not in page and "&lt;script&gt;" in page and "a &amp; b" in page
    assert "<b>" not in page and "<i>" not in page and "did not learn" in page


def test_prompts_come_from_as_many_stories_as_possible() -> None:
    long = " ".join(f"word{n}" for n in range(60))
    held_out = [chat_example(n % 3, f"{n} {long}") for n in range(9)]
    held_out[0]["ends"] = False
    first, *_ = make_prompt_rounds(held_out, [chat_example(n, long) for n in range(20)], 1)
    assert {request.user_message for request in first if request.kind == "telling"} == {
        user_message_of(example) for example in held_out
    }
    openings = [request for request in first if request.kind == "opening"]
    assert len({request.user_message for request in openings}) == 4
    assert openings[0].answer_start == " ".join(long.split()[:10])
    finishing = [request for request in first if request.kind == "finishing"]
    assert len(finishing) == 4 and all(request.answer_start.endswith("word39") for request in finishing)
    assert not any(request.answer_start.startswith("0 ") for request in finishing)


def test_plain_models_continue_a_beginning() -> None:
    told = "One two three four five six seven eight nine ten eleven twelve thirteen."
    first, *_ = make_prompt_rounds([{"story_id": "x", "text": told}], [{"story_id": "y", "text": told}], 1)
    assert [(request.kind, request.user_message, request.answer_start) for request in first] == [
        ("telling", "", "One two three four five six seven eight nine ten eleven twelve"),
        ("opening", "", "One two three four five six seven eight nine ten"),
    ]


def test_the_ending_probability_is_that_of_the_end_token(paths: ProcessingPaths, base_model: Path) -> None:
    """It is the probability of the end token after the story's last word."""
    tokenizer: Any = AutoTokenizer.from_pretrained(base_model)
    model: Any = AutoModelForCausalLM.from_pretrained(base_model)
    chances = []
    for example in HELD_OUT:
        batch = collate([encode(example, tokenizer, frozenset([tokenizer.eos_token_id]))], model.device)
        last = int((batch.labels[0] != IGNORE_INDEX).nonzero()[-1])
        assert batch.labels[0, last] == tokenizer.eos_token_id
        with torch.no_grad():
            chances.append(
                float(
                    model(input_ids=batch.input_ids).logits[0, last].softmax(dim=-1)[tokenizer.eos_token_id]
                )
            )
    assert result_of(paths)["base"]["ending_chance"] == pytest.approx(
        sum(chances) / len(chances), rel=0.02, abs=1e-4
    )


def test_the_same_inputs_give_the_same_figures(
    paths: ProcessingPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which format is faster is measured, and on a busy machine another may be so a second later.
    monkeypatch.setattr(evaluation_job, "choose_precision", lambda: choose_precision("fp32"))
    random.seed(1)
    first = result_of(paths)
    random.seed(2)
    second = result_of(paths)
    assert first["over_base"] == second["over_base"] and first["base"]["low"] == second["base"]["low"]


def test_tokens_are_sampled_from_the_nucleus_as_transformers_defines_it() -> None:
    torch.manual_seed(0)
    scores: Any = 1.2 * torch.randn(3, 400)
    before: Any = torch.zeros(3, 1)
    nucleus = TopPLogitsWarper(generation.TOP_P)(before, scores / generation.TEMPERATURE)
    sample = generation._Sampler(greedy=[1])
    drawn = torch.stack([sample(before, scores).argmax(dim=1) for _ in range(4000)])
    assert (drawn[:, 1] == scores[1].argmax()).all(), "of a known story the likeliest"
    for row in (0, 2):
        expected = nucleus[row].softmax(dim=0)
        assert 10 < (expected > 0).sum() < 300
        seen = torch.bincount(drawn[:, row], minlength=400) / len(drawn)
        assert (expected[seen > 0] > 0).all(), "nothing outside the nucleus"
        assert (seen - expected).abs().max() < 0.03
