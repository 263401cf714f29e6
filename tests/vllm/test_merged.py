"""Real vLLM over a bundle of merged weights: GPT-2, of which it takes no adapters."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from deploy.bundle import adapters_config, merged_config
from local.vllm_server import PYTHON
from shared.hosting.endpoint_configs import CONTAINER_VARIABLES
from stage_base_model import architectures
from storyloom_jobs.lora_model import write_merged
from storyloom_jobs.tokenization import plain_chat_template
from tests.local.sagemaker.conftest import until
from tests.unit.endpoint.conftest import free_port, save_random_adapter
from tests.unit.tiny_model import VOCABULARY, tiny_tokenizer
from tests.vllm.conftest import CHECKOUT, START_SECONDS

PROMPT = "Once upon a hill"
TOKENS = 24


@dataclass(frozen=True)
class Gpt2:
    """A tiny GPT-2 with random weights, and an adapter."""

    base: Path
    adapter: Path


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Gpt2:
    root = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    # Of wider heads than the tiny model of the other tests: vLLM's attention has a least width.
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=128,
        n_layer=2,
        n_head=2,
        n_positions=512,
        initializer_range=0.3,
        bos_token_id=VOCABULARY - 1,
        eos_token_id=VOCABULARY - 1,
    )
    GPT2LMHeadModel(config).save_pretrained(root / "base")
    tiny_tokenizer(chat=False).save_pretrained(root / "base")
    return Gpt2(root / "base", save_random_adapter(root / "base", root / "adapter", 1))


@contextmanager
def _started(folder: Path, **config: Any) -> Iterator[tuple[str, "subprocess.Popen[bytes]", Path]]:
    """vLLM over a folder with `base/`; its address, its process, and its log."""
    shutil.copy(CHECKOUT / "lambda" / "deploy" / "name_adapter.py", folder)
    values = {"model": "/opt/ml/model/base", "max-model-len": 512, **config}
    (folder / "serving.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    port, log = free_port(), folder.parent / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.vllm_server", "--model-dir", str(folder), "--port", str(port)],
            env={**os.environ, **CONTAINER_VARIABLES, "PYTHONPATH": str(CHECKOUT)},
            cwd=folder.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{port}", process, log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _ping(url: str) -> int:
    try:
        return httpx.get(f"{url}/ping", timeout=30).status_code
    except httpx.TransportError:
        return 0


def _peft(gpt2: Gpt2) -> list[int]:
    base: Any = GPT2LMHeadModel.from_pretrained(gpt2.base)
    model: Any = PeftModel.from_pretrained(base, gpt2.adapter).eval()
    prompt = AutoTokenizer.from_pretrained(gpt2.base)(PROMPT, return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=TOKENS, do_sample=False)
    tokens: list[int] = written[0, prompt["input_ids"].shape[1] :].tolist()
    return tokens


def test_merged_weights_write_what_peft_writes_with_the_adapter(gpt2: Gpt2, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_merged(gpt2.base, gpt2.adapter, folder / "base", torch.device("cpu"))
    for file in gpt2.base.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder / "base")
    template = plain_chat_template(AutoTokenizer.from_pretrained(gpt2.base))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    names = {**merged_config("v2"), "chat-template": "/opt/ml/model/chat_template.jinja"}
    with _started(folder, **names) as (url, process, log):
        seen = until(
            lambda: {"ping": _ping(url), "ended": process.poll()},
            lambda now: now["ping"] == 200 or now["ended"] is not None,
            START_SECONDS,
        )
        assert seen["ping"] == 200, log.read_text()[-3000:]
        chat = {"messages": [{"role": "user", "content": PROMPT}], "temperature": 0, "max_tokens": TOKENS}
        for name in ("v2", "storyloom"):
            asked = {**chat, "model": name, "return_token_ids": True}
            answer = httpx.post(f"{url}/invocations", json=asked, timeout=120).json()
            assert answer["model"] == "v2"
            assert answer["choices"][0]["token_ids"] == _peft(gpt2)
        for name in ("base", "v1"):
            refused = httpx.post(f"{url}/invocations", json={**chat, "model": name}, timeout=120)
            assert refused.status_code == 404, refused.text


def test_it_supports_no_adapters_for_gpt2(gpt2: Gpt2, tmp_path: Path) -> None:
    """The reason for all this: should it pass one day, GPT-2 can be hosted as the others."""
    folder = tmp_path / "bundle"
    shutil.copytree(gpt2.base, folder / "base")
    shutil.copytree(gpt2.adapter, folder / "adapters" / "v1")
    with _started(folder, **adapters_config(["v1"], rank=8)) as (_, process, log):
        ended = until(lambda: {"code": process.poll()}, lambda now: now["code"] is not None, START_SECONDS)
        assert ended["code"] != 0
        assert "GPT2LMHeadModel does not support LoRA yet" in log.read_text()


def test_it_supports_the_architectures_that_we_accept() -> None:
    program = (
        "from vllm.model_executor.models.registry import ModelRegistry\n"
        "from vllm.model_executor.models import supports_lora\n"
        "from sys import argv\n"
        "known = set(ModelRegistry.get_supported_archs())\n"
        "print('unknown', sorted(set(argv[1].split() + argv[2].split()) - known))\n"
        "print('without', [name for name in argv[1].split()\n"
        "    if not supports_lora(ModelRegistry._try_load_model_cls(name))])\n"
    )
    adapters, merged = architectures.ADAPTERS, architectures.MERGED
    # Its module wants torchvision, which is not installed beside vLLM here.
    loadable = adapters - {"Gemma3ForConditionalGeneration"}
    said = subprocess.run(
        [str(PYTHON), "-c", program, " ".join(loadable), " ".join(merged | adapters)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "unknown []" in said.stdout and "without []" in said.stdout, said.stdout
