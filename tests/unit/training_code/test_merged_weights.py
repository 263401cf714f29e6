"""Bases that are hosted merged: merged weights, and a chat template for plain texts."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from storyloom_jobs.container import ProcessingPaths
from storyloom_jobs.evaluation import job as evaluation_job
from storyloom_jobs.evaluation.job import evaluate
from storyloom_jobs.tokenization import plain_chat_template
from storyloom_jobs.training.job import train
from tests.unit.tiny_model import save_tiny_model, tiny_tokenizer, write_examples
from tests.unit.training_code.conftest import SMALL, TALES, Job, archive_model

OPENING = "the sea took"
TOKENS = 30


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a tiny GPT-2 on plain texts, in the evaluation's folders."""
    root = tmp_path_factory.mktemp("gpt2")
    base = save_tiny_model(root / "base", "gpt2", chat=False, spread=0.2)
    (base / "staged.json").write_text(json.dumps({"files": {}, "hosting": "merged"}), encoding="utf-8")
    data = root / "ml" / "input" / "data"
    tales = [{"story_id": f"{n:016x}", "text": TALES[n % 3]} for n in range(12)]
    write_examples(data / "train", tales)
    write_examples(data / "validation", tales[:3])
    (data / "model").symlink_to(base)
    job = Job(root / "ml")
    job.settings(**SMALL, epochs=4)
    assert train(job.paths, time.monotonic()) == 0
    inputs = root / "processing" / "input"
    write_examples(inputs / "test", [{"story_id": "f" * 16, "text": tale} for tale in TALES])
    (inputs / "train").symlink_to(data / "train")
    archive_model(job.root / "model", inputs / "candidate")
    (inputs / "model").symlink_to(base)
    return root


def _evaluated(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(evaluation_job.GENERATION_SECONDS, "cpu", 0.5)
    paths = ProcessingPaths.from_environment({"LOCAL_AWS_PROCESSING_ROOT": str(root / "processing")})
    assert evaluate(paths) == 0
    assert (paths.output / "evaluation.json").exists()
    return paths.output / "merged"


def _told(model: Any, tokenizer: Any) -> str:
    given = tokenizer(OPENING, return_tensors="pt")
    with torch.no_grad():
        written = model.eval().generate(**given, max_new_tokens=TOKENS, do_sample=False)
    return str(tokenizer.decode(written[0]))


def test_the_merged_weights_generate_what_peft_generates_with_the_adapter(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = _evaluated(trained, monkeypatch)
    # As the deploy function puts them together: the weights, and all else from the base.
    hosted = tmp_path / "hosted"
    shutil.copytree(trained / "base", hosted)
    (hosted / "model.safetensors").unlink()
    for file in merged.glob("*.safetensors*"):
        shutil.copy(file, hosted)
    tokenizer: Any = AutoTokenizer.from_pretrained(hosted)
    base: Any = AutoModelForCausalLM.from_pretrained(trained / "base")
    plain = _told(base, tokenizer)
    expected = _told(PeftModel.from_pretrained(base, trained / "ml" / "model"), tokenizer)
    assert expected != plain, "the adapter changes what is told"
    ours: Any = AutoModelForCausalLM.from_pretrained(hosted)
    assert ours.dtype == torch.float32, "the base's own format"
    assert _told(ours, tokenizer) == expected


def test_no_weights_are_merged_for_a_base_that_is_hosted_with_adapters(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "other"
    shutil.copytree(trained, root, symlinks=False)
    (root / "processing" / "input" / "model" / "staged.json").write_text('{"hosting": "adapters"}')
    shutil.rmtree(root / "processing" / "output", ignore_errors=True)
    assert not _evaluated(root, monkeypatch).exists()


def test_an_adapter_for_plain_texts_has_a_chat_template(trained: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(trained / "ml" / "model")
    assert (trained / "ml" / "model" / "chat_template.jinja").exists()
    said = [
        {"role": "system", "content": "You tell stories."},
        {"role": "user", "content": "Once"},
        {"role": "assistant", "content": "there was"},
    ]
    rendered = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    assert rendered == "Once\n\nthere was"


@pytest.mark.parametrize("begins", [True, False])
def test_a_rendered_chat_has_the_tokens_of_a_plain_text(*, begins: bool) -> None:
    tokenizer: Any = _with_beginning() if begins else tiny_tokenizer(chat=False)
    tokenizer.chat_template = plain_chat_template(tokenizer)
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "Once"}], tokenize=False)
    as_chat = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    assert as_chat == tokenizer("Once")["input_ids"]
    assert (as_chat[0] == tokenizer.bos_token_id) == begins


def _with_beginning() -> Any:
    """Make a tokenizer that begins every text with a token, as Llama's does."""
    from tokenizers.processors import TemplateProcessing

    backend = tiny_tokenizer(chat=False).backend_tokenizer
    start = "<|im_start|>"
    backend.post_processor = TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, backend.token_to_id(start))]
    )
    made: Any = PreTrainedTokenizerFast
    return made(tokenizer_object=backend, bos_token=start, eos_token="<|im_end|>")
