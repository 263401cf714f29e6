"""Staging the base model, from a small hub that speaks Hugging Face's API over HTTP."""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.s3.transfer import TransferConfig

from shared import aws, layout, runs
from stage_base_model import handler as staging
from stage_base_model.architectures import UnservedModelError
from stage_base_model.handler import handler
from stage_base_model.hub import HubError
from tests.unit.functions.conftest import BASE_MODEL, Context, House

COMMIT = "f" * 40
FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "generation_config.json": b"{}",
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "preprocessor_config.json": b"{}",
    "processor_config.json": b"{}",
    "model-00001-of-00002.safetensors": b"a" * (9 * 2**20),
    "model-00002-of-00002.safetensors": b"b" * 1000,
    "model.safetensors.index.json": b"{}",
    "consolidated.safetensors": b"twice",
    "pytorch_model.bin": b"pickle",
    "README.md": b"# Hello",
}
NEEDED = set(FILES) - {"consolidated.safetensors", "pytorch_model.bin", "README.md"}


class SmallHub:
    """What the hub holds, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.files = dict(FILES)
        self.damaged: str | None = None
        self.slow: str | None = None
        self.tokens: set[str | None] = set()


@pytest.fixture
def hub(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    """Serve it, in place of huggingface.co; what is larger than 5 MB is uploaded in parts."""
    parts = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20)
    monkeypatch.setattr(staging, "_IN_PARTS", parts)
    it = SmallHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            it.asked.append(self.path)
            it.tokens.add(self.headers.get("Authorization"))
            name = self.path.rpartition("/")[2]
            if it.status != 200:
                self._send(it.status, b"{}")
            elif self.path == f"/api/models/{BASE_MODEL['id']}/revision/r1":
                self._send(200, json.dumps({"sha": COMMIT}).encode())
            elif self.path == f"/api/models/{BASE_MODEL['id']}/tree/{COMMIT}":
                self._send(200, json.dumps([_entry(*file) for file in it.files.items()]).encode())
            elif self.path.startswith(f"/{BASE_MODEL['id']}/resolve/{COMMIT}/"):
                body = it.files[name]
                self._send(200, b"z" * len(body) if name == it.damaged else body)
            else:
                self._send(404, b"{}")

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            half = len(body) // 2
            self.wfile.write(body[:half])
            if it.slow is not None and self.path.endswith(it.slow):
                time.sleep(1.5)
            # The client has hung up where the test let it run out of time.
            with contextlib.suppress(OSError):
                self.wfile.write(body[half:])

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield it
    server.shutdown()
    server.server_close()


def _entry(name: str, body: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(body)}
    if name.endswith(".safetensors"):
        entry["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body)}
    return entry


def _staged(house: House) -> dict[str, Any]:
    key = layout.staged_marker("smollm2-135m", "r1")
    body = aws.s3().get_object(Bucket=house.artifacts, Key=key)["Body"].read()
    parsed: dict[str, Any] = json.loads(body)
    return parsed


def test_only_the_needed_files_are_staged_and_listed_with_their_hashes(
    house: House, hub: SmallHub, context: LambdaContext
) -> None:
    assert handler({"run_id": "r"}, context) == {"done": True, "files_left": 0}
    staged = _staged(house)
    assert staged["commit"] == COMMIT
    assert (staged["architecture"], staged["hosting"]) == ("LlamaForCausalLM", "adapters")
    assert set(staged["files"]) == NEEDED
    for name, facts in staged["files"].items():
        assert facts == {"bytes": len(FILES[name]), "sha256": hashlib.sha256(FILES[name]).hexdigest()}
        key = layout.base_model("smollm2-135m", "r1") + name
        assert aws.s3().get_object(Bucket=house.artifacts, Key=key)["Body"].read() == FILES[name]
    run = runs.get("r")
    assert run is not None
    assert run.step == "Train"


def test_a_staged_model_is_not_asked_for_again(house: House, hub: SmallHub, context: LambdaContext) -> None:
    key = layout.staged_marker("smollm2-135m", "r1")
    aws.s3().put_object(Bucket=house.artifacts, Key=key, Body=b'{"hosting": "adapters"}')
    assert handler({"run_id": "r"}, context)["done"]
    assert hub.asked == []


@pytest.mark.parametrize(
    ("architecture", "hosting"),
    [("LlamaForCausalLM", "adapters"), ("GPT2LMHeadModel", "merged"), ("MixtralForCausalLM", "merged")],
)
def test_how_versions_will_be_hosted_is_decided_by_the_architecture(
    house: House, hub: SmallHub, context: LambdaContext, architecture: str, hosting: str
) -> None:
    hub.files["config.json"] = json.dumps({"architectures": [architecture]}).encode()
    assert handler({"run_id": "r"}, context)["done"]
    assert (_staged(house)["architecture"], _staged(house)["hosting"]) == (architecture, hosting)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (b'{"architectures": ["GPTNeoForCausalLM"]}', "GPTNeoForCausalLM"),
        (b'{"architectures": ["Gemma4ForCausalLM"]}', "training container .transformers 5.3.0."),
        (b'{"architectures": []}', "names none"),
        (b"[", "names none"),
    ],
    ids=["not hosted", "not trained", "none", "no JSON"],
)
def test_what_could_not_be_hosted_is_refused_before_anything_large_is_copied(
    house: House, hub: SmallHub, context: LambdaContext, config: bytes, named: str
) -> None:
    hub.files["config.json"] = config
    with pytest.raises(UnservedModelError, match=named):
        handler({"run_id": "r"}, context)
    assert not any("safetensors" in path for path in hub.asked)
    assert "Contents" not in aws.s3().list_objects_v2(Bucket=house.artifacts, Prefix="base-models/")


def test_a_model_that_was_staged_before_this_was_asked_is_looked_at_too(
    house: House, hub: SmallHub, context: LambdaContext
) -> None:
    prefix = layout.base_model("smollm2-135m", "r1")
    aws.s3().put_object(Bucket=house.artifacts, Key=f"{prefix}staged.json", Body=b'{"files": {"a": {}}}')
    with pytest.raises(UnservedModelError, match=r"has no config\.json"):
        handler({"run_id": "r"}, context)
    config = b'{"architectures": ["GPT2LMHeadModel"]}'
    aws.s3().put_object(Bucket=house.artifacts, Key=f"{prefix}config.json", Body=config)
    assert handler({"run_id": "r"}, context)["done"]
    assert (_staged(house)["hosting"], _staged(house)["files"]) == ("merged", {"a": {}})
    assert hub.asked == []


def test_a_damaged_file_is_never_kept(house: House, hub: SmallHub, context: LambdaContext) -> None:
    hub.damaged = "model-00001-of-00002.safetensors"
    with pytest.raises(HubError, match="arrived damaged"):
        handler({"run_id": "r"}, context)
    prefix = layout.base_model("smollm2-135m", "r1")
    kept = {e["Key"] for e in aws.s3().list_objects_v2(Bucket=house.artifacts, Prefix=prefix)["Contents"]}
    assert prefix + hub.damaged not in kept
    assert prefix + "model-00002-of-00002.safetensors" in kept
    hub_file, hub.damaged, before = hub.damaged, None, len(hub.asked)
    assert handler({"run_id": "r"}, context)["done"]
    fetched = [path.rpartition("/")[2] for path in hub.asked[before:] if "/resolve/" in path]
    assert fetched == ["config.json", hub_file], "what arrived whole is not fetched again"


class Hurried(Context):
    """A call with a second for downloads."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 31_000


def test_it_goes_on_in_the_next_call_when_the_time_is_up(
    house: House, hub: SmallHub, context: LambdaContext
) -> None:
    hub.slow = "model-00001-of-00002.safetensors"
    assert handler({"run_id": "r"}, Hurried()) == {"done": False, "files_left": 1}
    hub.slow, before = None, len(hub.asked)
    assert handler({"run_id": "r"}, context)["done"]
    fetched = [path.rpartition("/")[2] for path in hub.asked[before:] if "/resolve/" in path]
    assert fetched == ["config.json", "model-00001-of-00002.safetensors"]


def test_a_file_that_never_fits_a_call_is_an_error(house: House, hub: SmallHub) -> None:
    hub.slow = "model-00001-of-00002.safetensors"
    assert not handler({"run_id": "r"}, Hurried())["done"]
    with pytest.raises(HubError, match="does not download within one call"):
        handler({"run_id": "r"}, Hurried())


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_says_what_to_do(
    house: House, hub: SmallHub, context: LambdaContext, status: int
) -> None:
    hub.status = status
    with pytest.raises(HubError, match=r"Accept its licence .* huggingface_token_secret"):
        handler({"run_id": "r"}, context)


def test_the_token_comes_from_secrets_manager(
    house: House, hub: SmallHub, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.secretsmanager().create_secret(Name=house.table, SecretString="hf_secret\n")
    monkeypatch.setenv("STORYLOOM_HUGGINGFACE_TOKEN_SECRET", house.table)
    handler({"run_id": "r"}, context)
    assert hub.tokens == {"Bearer hf_secret"}


def test_pickled_weights_are_refused(house: House, hub: SmallHub, context: LambdaContext) -> None:
    hub.files = {name: body for name, body in FILES.items() if not name.endswith(".safetensors")}
    with pytest.raises(HubError, match=r"no \.safetensors weights"):
        handler({"run_id": "r"}, context)


def test_an_unknown_revision_is_named(house: House, hub: SmallHub, context: LambdaContext) -> None:
    hub.status = 404
    with pytest.raises(HubError, match="revision/r1"):
        handler({"run_id": "r"}, context)
