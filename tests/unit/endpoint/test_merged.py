"""A bundle with merged weights: one version, by its own name and as the live one, and nothing else."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from deploy.bundle import merged_config
from local.endpoint_server.config import ServingConfigError, read_serving_config
from local.endpoint_server.loaded_models import load_models
from storyloom_jobs.lora_model import write_merged
from storyloom_jobs.tokenization import plain_chat_template
from tests.unit.endpoint.conftest import save_random_adapter, serving, write_serving_config
from tests.unit.tiny_model import save_tiny_model

CHAT = [
    {"role": "system", "content": "You tell stories."},
    {"role": "user", "content": "Once upon a hill"},
    {"role": "assistant", "content": "there was a bell,"},
    {"role": "user", "content": "and it"},
]
AS_TEXT = "Once upon a hill\n\nthere was a bell,\n\nand it"
TOKENS = 24


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    """A tiny GPT-2 without a chat template, and an adapter on it."""
    save_tiny_model(tmp_path / "gpt2", "gpt2", chat=False, spread=0.3)
    save_random_adapter(tmp_path / "gpt2", tmp_path / "adapter", 1)
    return tmp_path


def _bundle(gpt2: Path) -> Path:
    """What the deploy function makes of them."""
    folder = gpt2 / "bundle"
    write_merged(gpt2 / "gpt2", gpt2 / "adapter", folder / "base", torch.device("cpu"))
    for file in (gpt2 / "gpt2").iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder / "base")
    template = plain_chat_template(AutoTokenizer.from_pretrained(gpt2 / "gpt2"))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    config = {
        "model": "/opt/ml/model/base",
        "dtype": "float32",
        "chat-template": "/opt/ml/model/chat_template.jinja",
        **merged_config("v2"),
    }
    (folder / "serving.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def _peft(gpt2: Path) -> str:
    """What peft goes on with, the adapter beside the base's weights."""
    model: Any = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(gpt2 / "gpt2"), gpt2 / "adapter"
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(gpt2 / "gpt2")
    prompt = tokenizer(AS_TEXT, return_tensors="pt")
    with torch.no_grad():
        written = model.generate(**prompt, max_new_tokens=TOKENS, do_sample=False)
    text = str(tokenizer.decode(written[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
    return text.rstrip("\ufffd")  # half a character at the end, which a server keeps back


def test_it_answers_as_the_version_what_peft_answers_with_the_adapter(gpt2: Path) -> None:
    expected = _peft(gpt2)
    assert len(expected) > 10
    with serving(_bundle(gpt2)) as server:
        for name in ("v2", "storyloom"):
            answer = server.ask(name, messages=CHAT, temperature=0, max_tokens=TOKENS).json()
            assert answer["choices"][0]["message"]["content"] == expected
            assert answer["model"] == "v2"
        body = {"model": "v2", "prompt": AS_TEXT, "temperature": 0, "max_tokens": TOKENS}
        went_on = httpx.post(f"{server.url}/invocations", json=body, timeout=60).json()
        assert went_on["choices"][0]["text"] == expected, "a chat is the text that it was made into"
        for name in ("base", "v1"):
            assert server.ask(name).status_code == 404
        listed = httpx.get(f"{server.url}/v1/models").json()["data"]
        assert [model["id"] for model in listed] == ["v2", "storyloom"]


def test_adapters_on_a_gpt2_are_refused_as_vllm_refuses_them(gpt2: Path) -> None:
    folder = gpt2 / "bundle"
    shutil.copytree(gpt2 / "gpt2", folder / "base")
    for version in ("v1", "v2"):
        shutil.copytree(gpt2 / "adapter", folder / "adapters" / version)
    write_serving_config(folder)
    with pytest.raises(ServingConfigError, match="GPT2LMHeadModel does not support LoRA in vLLM"):
        load_models(read_serving_config(folder))
