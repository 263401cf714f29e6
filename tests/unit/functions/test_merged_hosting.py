"""A base that vLLM cannot host with adapters: its bundle, its smoke test, and the models that it has."""

import json
from typing import Any

import pytest
import yaml
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastapi.testclient import TestClient

from chat_api.app import create_app
from contracts import s3_keys
from deploy.bundle import IncompleteModelError
from deploy.handler import handler as deploy
from shared import clock
from shared.aws import clients
from shared.items import ModelVersion
from shared.models import versions
from smoke_test.handler import handler as smoke_test
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

GPT2 = {
    "name": "gpt2",
    "id": "openai-community/gpt2",
    "slug": "gpt2",
    "revision": "r1",
    "chat": False,
    "context_length": 1024,
    "parameters_millions": 124,
    "gated": False,
}
RUN = "20260902-090000-bbbb"
TEMPLATE = b"{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture
def gpt2(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> DeployedResources:
    """The app set to GPT-2, which is staged; nothing is registered."""
    monkeypatch.setenv("STORYLOOM_BASE_MODEL", json.dumps(GPT2))
    base = s3_keys.base_model("gpt2", "r1")
    files = {
        name: f"the base's {name}".encode() for name in ("config.json", "model.safetensors", "vocab.json")
    }
    files["staged.json"] = b'{"architecture": "GPT2LMHeadModel", "hosting": "merged"}'
    for name, body in files.items():
        clients.s3().put_object(Bucket=resources.artifacts, Key=base + name, Body=body)
    return resources


def _trained(
    resources: DeployedResources, version: str, run_id: str = RUN, *, merged: bool = True
) -> ModelVersion:
    """A version as its run leaves it."""
    adapter = s3_keys.adapter(run_id)
    files = {f"{adapter}{name}": b"{}" for name in (*s3_keys.ADAPTER_FILES, "tokenizer.json")}
    files[f"{adapter}chat_template.jinja"] = TEMPLATE
    if merged:
        files[f"{s3_keys.merged(run_id)}model.safetensors"] = f"merged for {version}".encode()
        files[f"{s3_keys.merged(run_id)}config.json"] = b"another release's form"
    for key, body in files.items():
        clients.s3().put_object(Bucket=resources.artifacts, Key=key, Body=body)
    model = ModelVersion(
        version=version,
        run_id=run_id,
        status="approved",
        adapter_uri=s3_keys.uri(resources.artifacts, adapter),
        adapter_sha256="a" * 64,
        base_model=str(GPT2["id"]),
        base_revision="r1",
        created_at=clock.stamp(),
    )
    versions.save(model)
    return model


def _deployed(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn, version: str
) -> dict[str, Any]:
    deployment = deploy({"run_id": RUN, "version": version}, context)
    sagemaker.in_service()
    said = {"role": "assistant", "content": " the sea was calm."}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    sagemaker.answers = [{"model": version, "choices": [choice]}]
    assert smoke_test({"run_id": RUN, "deployment": deployment}, context)["status"] == "passed"
    return deployment


def _chat(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Once"}]}


def _bundle(resources: DeployedResources, version: str) -> dict[str, bytes]:
    prefix = s3_keys.hosting(version)
    listed = clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix=prefix).get("Contents", [])
    return {
        entry["Key"].removeprefix(prefix): clients.s3()
        .get_object(Bucket=resources.artifacts, Key=entry["Key"])["Body"]
        .read()
        for entry in listed
    }


def test_its_bundle_is_the_merged_weights_in_the_place_of_the_bases(
    gpt2: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    _trained(gpt2, "v1")
    deployment = _deployed(gpt2, context, sagemaker, "v1")
    files = _bundle(gpt2, "v1")
    assert set(files) == {
        "serving.yaml",
        "name_adapter.py",
        "chat_template.jinja",
        "base/config.json",
        "base/model.safetensors",
        "base/vocab.json",
    }
    assert files["base/model.safetensors"] == b"merged for v1"
    assert files["base/config.json"] == b"the base's config.json"
    assert files["chat_template.jinja"] == TEMPLATE
    assert yaml.safe_load(files["serving.yaml"]) == {
        "model": "/opt/ml/model/base",
        "max-model-len": 1024,
        "override-generation-config": '{"temperature": 0.7, "top_p": 0.95, "repetition_penalty": 1.1}',
        "served-model-name": ["v1", "storyloom"],
        "chat-template": "/opt/ml/model/chat_template.jinja",
    }
    assert deployment["merged"] is True
    live = versions.live()
    assert live is not None and live.merged
    # It is given a beginning, for it follows no instructions.
    assert sagemaker.asked[-1]["messages"][0]["content"].startswith("Once upon a time")


def test_only_the_live_version_can_be_asked(
    gpt2: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    _trained(gpt2, "v1", "20260901-090000-aaaa")
    _deployed(gpt2, context, sagemaker, "v1")
    _trained(gpt2, "v2")
    _deployed(gpt2, context, sagemaker, "v2")
    assert not any(name.startswith("adapters/") for name in _bundle(gpt2, "v2"))
    with TestClient(create_app(), headers=caller_headers()) as client:
        listed = client.get("/api/v1/models").json()["data"]
        assert [model["id"] for model in listed] == ["storyloom", "v2"]
        assert client.get("/api/status").json()["models"] == ["storyloom", "v2"]
        for asked, reason, cure in (
            ("base", "base is not loaded: the endpoint has only v2", "Use one of: storyloom, v2."),
            ("v1", "v1 is not loaded: the endpoint has only v2", "storyloom models activate v1"),
            ("v9", "There is no model 'v9'", "Use one of: storyloom, v2."),
        ):
            for refused in (
                client.post("/api/v1/chat/completions", json=_chat(asked)),
                client.post("/api/batches", json={"model": asked, "size": 10}),
            ):
                assert refused.status_code == 404, refused.text
                error = refused.json()["error"]
                assert error["type"] == "model_not_found"
                assert reason in error["message"] and cure in error["cure"]


def test_whichever_version_the_endpoint_has_answers_as_the_live_one(
    gpt2: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    """The endpoint has the next version, and no other, minutes before that has passed its smoke test."""
    _trained(gpt2, "v1")
    _deployed(gpt2, context, sagemaker, "v1")
    choice = {"index": 0, "delta": {"content": "Once"}, "finish_reason": "stop"}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 5, "model": "v2", "choices": [choice]}
    sagemaker.stream = [f"data: {json.dumps(chunk)}\n\n".encode(), b"data: [DONE]\n\n"]
    with TestClient(create_app(), headers=caller_headers()) as client:
        assert client.post("/api/v1/chat/completions", json=_chat("storyloom")).json()["model"] == "v2"
        client.post("/api/v1/chat/completions", json=_chat("v1"))
    assert [asked["model"] for asked in sagemaker.asked[-2:]] == ["storyloom", "v1"]


def test_the_version_before_answers_again_after_a_deployment(
    gpt2: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    for version, run_id in (("v1", "20260901-090000-aaaa"), ("v2", RUN)):
        _trained(gpt2, version, run_id)
        _deployed(gpt2, context, sagemaker, version)
    _deployed(gpt2, context, sagemaker, "v1")
    live = versions.live()
    assert live is not None
    assert (live.version, live.previous, live.merged) == ("v1", "v2", True)


def test_a_version_without_merged_weights_is_refused_in_words(
    gpt2: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    _trained(gpt2, "v1", merged=False)
    with pytest.raises(IncompleteModelError, match=r"v1 has no merged weights .* Start a run"):
        deploy({"run_id": RUN, "version": "v1"}, context)
    assert sagemaker.created() == 0
