"""The real endpoint server, as a process, over a tiny model with two adapters."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tests.unit.tiny_model import save_tiny_model

CONTEXT = 20_000
"""Long enough that an unlimited answer takes a minute."""

CHECKOUT = Path(__file__).resolve().parents[3]


def save_random_adapter(base_folder: Path, folder: Path, seed: int) -> Path:
    """An adapter whose weights are large enough to change every answer."""
    torch.manual_seed(seed)
    base: Any = AutoModelForCausalLM.from_pretrained(base_folder)
    model: Any = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    model.save_pretrained(folder)
    return folder


def write_serving_config(folder: Path, **values: Any) -> None:
    config = {
        "model": "/opt/ml/model/base",
        "served-model-name": ["base"],
        "enable-lora": True,
        "max-lora-rank": 16,
        "max-model-len": CONTEXT,
        "dtype": "float32",
        "lora-modules": [
            json.dumps({"name": name, "path": f"/opt/ml/model/adapters/{name}"}) for name in ("v2", "v1")
        ],
    } | values
    (folder / "serving.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hosting bundle: base, two adapters, serving.yaml."""
    folder = tmp_path_factory.mktemp("bundle")
    base = save_tiny_model(folder / "base", context=CONTEXT, spread=0.3)
    for version, seed in (("v1", 1), ("v2", 2)):
        save_random_adapter(base, folder / "adapters" / version, seed)
    write_serving_config(folder)
    return folder


@dataclass(frozen=True)
class Server:
    """A running endpoint."""

    url: str
    port: int
    folder: Path
    process: subprocess.Popen[str]

    def ask(self, model: str = "v2", text: str = "Hello", **values: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **values}
        return httpx.post(f"{self.url}/invocations", json=body, timeout=60)

    def events(self, **values: Any) -> list[dict[str, Any]]:
        """The chunks of a streamed answer."""
        body = {"messages": [{"role": "user", "content": "Hello"}], "model": "v2", "stream": True, **values}
        with httpx.stream("POST", f"{self.url}/invocations", json=body, timeout=60) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            data = [line.removeprefix("data: ") for line in response.iter_lines() if line]
        assert data[-1] == "[DONE]"
        return [json.loads(event) for event in data[:-1]]

    def active(self) -> int:
        count: int = httpx.get(f"{self.url}/ping").json()["active"]
        return count

    def adapter_fingerprint(self, version: str) -> str:
        weights = self.folder / "adapters" / version / "adapter_model.safetensors"
        return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]


START_SECONDS = 600.0
"""For a machine on which three other groups of tests run: its processors start it in four."""


def start(folder: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local.endpoint_server", "--model-dir", str(folder), "--port", str(port)],
        cwd=CHECKOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """The server over a folder, from its first answer to a ping on."""
    port = free_port()
    process = start(folder, port)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    try:
        while True:
            try:
                assert httpx.get(f"{url}/ping").status_code == 200
                break
            except httpx.TransportError:
                assert process.poll() is None, process.stdout.read() if process.stdout else ""
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.1)
        yield Server(url, port, folder, process)
    finally:
        process.terminate()
        code = process.wait(timeout=20)
    assert code in (0, -15)


@pytest.fixture(scope="session")
def server(model_folder: Path) -> Iterator[Server]:
    with serving(model_folder) as it:
        yield it
