"""Copies of models that nothing needs are deleted: bundles, checkpoints, merged weights, base models."""

import json
from typing import Any

import pytest
import yaml
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from collect_garbage.handler import handler as collect_garbage
from contracts import s3_keys
from deploy.handler import handler as deploy
from endpoint_manager.handler import handler as endpoint_manager
from record_failure.handler import handler as record_failure
from shared import clock, table
from shared.aws import clients
from shared.batch_inference import batch_records
from shared.hosting import endpoint_configs, hosting_state
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import run_records
from smoke_test.checks import SmokeTestFailed
from smoke_test.handler import handler as smoke_test
from tests.unit.functions.conftest import BASE_MODEL, DeployedResources
from tests.unit.functions.sagemaker_stand_in import StandIn

_BASE = s3_keys.base_model("smollm2-135m", "r1")


def _put(resources: DeployedResources, key: str, body: bytes = b"weights") -> None:
    clients.s3().put_object(Bucket=resources.artifacts, Key=key, Body=body)


def _keys(resources: DeployedResources, prefix: str = "") -> set[str]:
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=resources.artifacts, Prefix=prefix)
    return {entry["Key"] for page in pages for entry in page.get("Contents", [])}


def _bundles(resources: DeployedResources) -> set[str]:
    return {key.split("/")[1] for key in _keys(resources, "hosting/")}


def _run(number: int) -> str:
    return f"20260801-1200{number:02}-aaaa"


@pytest.fixture
def staged(resources: DeployedResources) -> DeployedResources:
    """The base model is in the bucket."""
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        _put(resources, f"{_BASE}{name}")
    _put(resources, f"{_BASE}staged.json", b'{"architecture": "LlamaForCausalLM", "hosting": "adapters"}')
    return resources


def _trained(resources: DeployedResources, number: int, **changes: Any) -> ModelVersion:
    run_id = _run(number)
    adapter = s3_keys.adapter(run_id)
    _put(resources, f"{adapter}adapter_model.safetensors")
    _put(resources, f"{adapter}adapter_config.json", b'{"r": 8}')
    _put(resources, f"{s3_keys.checkpoints(run_id)}checkpoint-a.pt")
    _put(resources, f"{s3_keys.checkpoints(run_id)}tensorboard/events.out.tfevents.1")
    model = ModelVersion(
        version=f"v{number}",
        run_id=run_id,
        status="approved",
        adapter_uri=s3_keys.uri(resources.artifacts, adapter),
        adapter_sha256="a" * 64,
        base_model=str(BASE_MODEL["id"]),
        base_revision="r1",
        created_at=clock.stamp(),
    ).model_copy(update=changes)
    versions.save(model)
    return model


def _deploy(model: ModelVersion, sagemaker: StandIn, context: LambdaContext) -> None:
    """What the run's last states do."""
    deployment = deploy({"run_id": model.run_id, "version": model.version}, context)
    sagemaker.in_service()
    choice = {"message": {"content": "Good morning."}, "finish_reason": "stop"}
    sagemaker.answers = [{"model": model.version, "choices": [choice]}]
    looked = smoke_test({"run_id": model.run_id, "deployment": deployment}, context)
    assert looked["status"] == "passed"
    collect_garbage({"run_id": model.run_id}, context)


@pytest.mark.aws_fact
def test_after_ten_versions_there_are_two_bundles(
    staged: DeployedResources, sagemaker: StandIn, context: LambdaContext
) -> None:
    for number in range(1, 11):
        _deploy(_trained(staged, number), sagemaker, context)
        assert len(_bundles(staged)) <= 2
    assert _bundles(staged) == {"v9", "v10"}
    assert {name.split("-")[1] for name in sagemaker.configs} == {"v9", "v10"}
    assert {name.split("-")[1] for name in sagemaker.models} == {"v9", "v10"}
    kept = [key for key in _keys(staged, "runs/") if "/checkpoints/" in key]
    assert kept and all("/checkpoints/tensorboard/" in key for key in kept), "curves stay, checkpoints go"
    adapters = [key for key in _keys(staged, "runs/") if key.endswith("adapter_model.safetensors")]
    assert len(adapters) == 10, "what bundles are built from stays"
    assert f"{_BASE}model.safetensors" in _keys(staged)


def test_a_version_whose_bundle_was_deleted_answers_again(
    staged: DeployedResources, sagemaker: StandIn, context: LambdaContext
) -> None:
    models = [_trained(staged, number) for number in range(1, 4)]
    for model in [*models, models[0]]:
        _deploy(model, sagemaker, context)
    assert _bundles(staged) == {"v1", "v3"}
    served = clients.s3().get_object(Bucket=staged.artifacts, Key=s3_keys.serving_yaml("v1"))["Body"].read()
    assert [json.loads(module)["name"] for module in yaml.safe_load(served)["lora-modules"]] == ["v1", "v3"]
    sagemaker.endpoint = None
    hosting_state.mark_asleep(hosting_state.state(), "Asleep.")
    endpoint_manager({"action": "wake"}, context)
    assert sagemaker.endpoint is not None and "-v1-" in sagemaker.endpoint["EndpointConfigName"]


def test_what_only_has_to_be_deleted_yet_is_not_built_upon(
    staged: DeployedResources, sagemaker: StandIn, context: LambdaContext
) -> None:
    """The bucket's lifecycle deletes what is tagged, at any time."""
    models = [_trained(staged, number) for number in range(1, 4)]
    for model in models[:2]:
        _deploy(model, sagemaker, context)
    for key in _keys(staged, "hosting/v1/"):
        clients.s3().put_object_tagging(
            Bucket=staged.artifacts, Key=key, Tagging={"TagSet": [{"Key": s3_keys.RETIRED, "Value": "true"}]}
        )
    deploy({"run_id": models[0].run_id, "version": "v1"}, context)
    for key in _keys(staged, "hosting/v1/"):
        assert clients.s3().get_object_tagging(Bucket=staged.artifacts, Key=key)["TagSet"] == []


def test_what_is_in_use_stays(staged: DeployedResources, sagemaker: StandIn, context: LambdaContext) -> None:
    for number in range(1, 6):
        _deploy(_trained(staged, number), sagemaker, context)
    # v1 answers on the endpoint though another is live; v2 is being packed for a batch; v3 is nobody's.
    for version in ("v1", "v2", "v3"):
        _put(staged, f"hosting/{version}/base/model.safetensors")
        _put(staged, s3_keys.transform_model(version, "d1"))
    config = endpoint_configs.ensure_config(s3_keys.uri(staged.artifacts, "hosting/v1/"), "ml.g6.xlarge")
    unused = endpoint_configs.ensure_config(s3_keys.uri(staged.artifacts, "hosting/v3/"), "ml.g6.xlarge")
    assert sagemaker.endpoint is not None
    sagemaker.endpoint["EndpointConfigName"] = config
    _batch(staged, "v2")
    collect_garbage({"run_id": _run(5)}, context)
    assert _bundles(staged) == {"v1", "v2", "v4", "v5"}
    assert config in sagemaker.configs and config in sagemaker.models
    assert unused not in sagemaker.configs and unused not in sagemaker.models
    assert _keys(staged, s3_keys.TRANSFORM_MODELS) == {
        s3_keys.transform_model("v1", "d1"),
        s3_keys.transform_model("v2", "d1"),
    }


def _batch(resources: DeployedResources, version: str) -> None:
    batch = batch_records.create_record(
        owner="u1", created_by="u1", name="p", model="storyloom", max_tokens=8, instance="ml.g6.xlarge"
    )
    uri = s3_keys.uri(resources.artifacts, s3_keys.hosting(version))
    table.update("BATCHES", batch.batch_id, {"status": "preparing", "version": version, "bundle_uri": uri})
    table.add("HOSTING", "BATCHES", {"active": {batch.batch_id}})


@pytest.mark.aws_fact
def test_another_app_whose_name_begins_with_ours_keeps_its_models(
    staged: DeployedResources, sagemaker: StandIn, context: LambdaContext
) -> None:
    hosted = {f"{app}-v1-g6-xlarge-0f3c2a1b" for app in ("storyloom-two", "storyloom-batch", "my-storyloom")}
    packed = {f"{app}-batch-v1-0f3c2a1b" for app in ("storyloom-two", "storyloom-batch", "my-storyloom")}
    sagemaker.configs.update((name, {}) for name in hosted)
    sagemaker.models.update((name, {}) for name in hosted | packed)
    for number in range(1, 5):
        _deploy(_trained(staged, number), sagemaker, context)
    assert hosted <= set(sagemaker.configs)
    assert hosted | packed <= set(sagemaker.models)
    assert "v1" not in {name.split("-")[1] for name in sagemaker.models}, "its own go"


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack"])
def test_nothing_is_deleted_while_the_endpoint_changes(
    staged: DeployedResources, sagemaker: StandIn, context: LambdaContext, status: str
) -> None:
    for number in range(1, 4):
        _deploy(_trained(staged, number), sagemaker, context)
    _put(staged, "hosting/v1/base/model.safetensors")
    assert sagemaker.endpoint is not None
    sagemaker.endpoint["EndpointStatus"] = status
    assert collect_garbage({"run_id": _run(3)}, context) == {"deleted": 0}
    assert _bundles(staged) == {"v1", "v2", "v3"}


@pytest.mark.parametrize("operation", ["delete_endpoint_config", "delete_model"])
def test_a_call_that_died_is_finished_by_the_next(
    staged: DeployedResources,
    sagemaker: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
) -> None:
    for number in range(1, 3):
        _deploy(_trained(staged, number), sagemaker, context)
    with monkeypatch.context() as dying:
        error = ClientError({"Error": {"Code": "InternalFailure", "Message": "It died."}}, operation)

        def die(**_: object) -> None:
            raise error

        dying.setattr(clients.sagemaker(), operation, die)
        with pytest.raises(ClientError):
            _deploy(_trained(staged, 3), sagemaker, context)
    assert "v1" in _bundles(staged)
    collect_garbage({"run_id": _run(3)}, context)
    assert _bundles(staged) == {"v2", "v3"}
    assert {name.split("-")[1] for name in sagemaker.models} == {"v2", "v3"}


def test_merged_weights_of_old_versions_are_deleted(
    staged: DeployedResources, sagemaker: StandIn, context: LambdaContext
) -> None:
    for number in range(1, 9):
        _trained(staged, number, status="pending" if number == 2 else "approved")
        _put(staged, f"{s3_keys.merged(_run(number))}model.safetensors")
    young = f"{clock.now():%Y%m%d-%H%M%S}-aaaa"
    _put(staged, f"{s3_keys.merged(young)}model.safetensors")
    versions.make_live(versions.get("v1"), s3_keys.uri(staged.artifacts, "hosting/v1/"), merged=True)  # type: ignore[arg-type]
    collect_garbage({"run_id": _run(8)}, context)
    kept = {key.split("/")[1] for key in _keys(staged, "runs/") if "/merged/" in key}
    assert kept == {*map(_run, (1, 2, 4, 5, 6, 7, 8)), young}


@pytest.mark.aws_fact
@pytest.mark.parametrize(("blames_version", "kept"), [(False, True), (True, False)])
def test_a_version_that_lacked_only_an_instance_keeps_its_merged_weights(
    *,
    staged: DeployedResources,
    sagemaker: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
    blames_version: bool,
    kept: bool,
) -> None:
    """No training is lost to a shortage: the message promises that the version can be activated."""
    paid = _trained(staged, 1)
    _put(staged, f"{s3_keys.merged(paid.run_id)}model.safetensors")
    run_records.enter(paid.run_id, "SmokeTest", version="v1")
    failure = SmokeTestFailed("It was not hosted.", blames_version=blames_version)

    def fail(*_: object) -> str:
        raise failure

    with monkeypatch.context() as short:
        short.setattr("smoke_test.handler._advance", fail)
        short.setattr("smoke_test.handler._current_config", lambda deployment: "c")
        with pytest.raises(SmokeTestFailed):
            smoke_test({"run_id": paid.run_id, "deployment": {"version": "v1"}}, context)
    cause = {"errorType": "SmokeTestFailed", "errorMessage": str(failure)}
    caught = {"Error": "SmokeTestFailed", "Cause": json.dumps(cause)}
    record_failure({"run_id": paid.run_id, "failure": caught}, context)
    model = versions.get("v1")
    assert model is not None and model.status == ("approved" if kept else "failed")
    _deploy(_trained(staged, 2), sagemaker, context)
    assert bool(_keys(staged, s3_keys.merged(paid.run_id))) == kept


def test_base_models_that_no_version_uses_are_deleted(
    staged: DeployedResources, sagemaker: StandIn, context: LambdaContext
) -> None:
    _trained(staged, 1, base_model="openai-community/gpt2", base_revision="of-gpt2")
    _trained(staged, 2, base_model="Qwen/Qwen3", base_revision="of-qwen", status="rejected")
    _put(staged, "base-models/gpt2/of-gpt2/model.safetensors")
    _put(staged, "base-models/qwen3/of-qwen/model.safetensors")
    _put(staged, "base-models/smollm2-135m/older/model.safetensors")
    collect_garbage({"run_id": _run(2)}, context)
    assert {key.rpartition("/")[0] for key in _keys(staged, "base-models/")} == {
        "base-models/gpt2/of-gpt2",
        _BASE.rstrip("/"),
    }
