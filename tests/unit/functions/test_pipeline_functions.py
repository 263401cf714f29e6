"""Begin, gate, register, deploy and smoke test: what each leaves in the bucket, the table and SageMaker."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from aws_lambda_powertools.utilities.typing import LambdaContext

from announce.handler import handler as announce
from begin.handler import handler as begin
from contracts import s3_keys
from deploy.bundle import IncompleteModelError, adapters_config
from deploy.handler import handler as deploy
from gate.handler import handler as gate
from register.handler import handler as register
from shared import table
from shared.aws import clients
from shared.hosting import hosting_state
from shared.models import versions
from shared.runs import lock, run_records
from shared.runs.lock import AnotherRunInProgress
from smoke_test.checks import EndpointAnswer, SmokeTestFailed, judge
from smoke_test.handler import handler as smoke_test
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.evaluations import evaluation
from tests.unit.functions.sagemaker_stand_in import StandIn

RUN = "20260902-090000-cccc"
SHA = "c" * 64


def _put(bucket: str, key: str, body: bytes = b"x") -> None:
    clients.s3().put_object(Bucket=bucket, Key=key, Body=body)


def _begin(context: LambdaContext, run_id: str = RUN) -> dict[str, Any]:
    event = {"run_id": run_id, "reason": "stories arrived", "execution_arn": f"arn:execution:{run_id}"}
    return begin(event, context)


def test_the_manifest_is_the_newest_versions_without_folders_and_deleted_files(
    resources: DeployedResources, context: LambdaContext
) -> None:
    # More than one page of S3's listing.
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda n: _put(resources.stories, f"stories/{n:04}.txt", b"Once upon a time."), range(1100)
            )
        )
    _put(resources.stories, "novels/")
    _put(resources.stories, "gone.txt")
    clients.s3().delete_object(Bucket=resources.stories, Key="gone.txt")
    second = clients.s3().put_object(
        Bucket=resources.stories, Key="stories/0007.txt", Body=b"Twice upon a time."
    )
    begun = _begin(context)
    assert begun["files"] == 1100
    assert begun["live"] is None
    assert begun["batches"] == {"bucket": resources.artifacts, "key": s3_keys.batches(RUN)}
    body = clients.s3().get_object(Bucket=resources.artifacts, Key=s3_keys.manifest(RUN))["Body"].read()
    lines = [json.loads(line) for line in body.splitlines()]
    assert len(lines) == 1100
    (seventh,) = [line for line in lines if line["key"] == "stories/0007.txt"]
    assert seventh["version_id"] == second["VersionId"]
    assert seventh["size"] == 18
    assert seventh["etag"] == second["ETag"].strip('"')
    run = run_records.get(RUN)
    assert run is not None
    assert (run.status, run.files, run.reason) == ("running", 1100, "stories arrived")
    held = lock.holder()
    assert held is not None
    assert held.run_id == RUN


def test_a_run_started_by_hand_beside_another_is_refused(
    resources: DeployedResources, context: LambdaContext
) -> None:
    _begin(context)
    with pytest.raises(AnotherRunInProgress, match=f"Run {RUN} is in progress"):
        _begin(context, "20260902-090001-dddd")


def test_begin_names_the_live_adapter_of_the_same_base_only(
    resources: DeployedResources, context: LambdaContext, live_v1: str
) -> None:
    assert _begin(context)["live"]["version"] == "v1"
    table.update("MODELS", "v1", {"base_revision": "another"})
    assert _begin(context)["live"] is None


def _jobs(resources: DeployedResources) -> dict[str, Any]:
    return {
        "training_job_name": f"storyloom-train-{RUN}",
        "processing_job_name": f"storyloom-evaluate-{RUN}",
        "training_output_uri": f"s3://{resources.artifacts}/runs/{RUN}/training/",
        "evaluation_output_uri": f"s3://{resources.artifacts}/runs/{RUN}/evaluation/",
    }


def _gate(
    resources: DeployedResources, context: LambdaContext, base: float, tuned: float, live: float | None
) -> dict[str, Any]:
    found = evaluation(base, tuned, live)
    _put(resources.artifacts, s3_keys.evaluation_json(RUN), json.dumps(found).encode())
    return gate({"run_id": RUN, "jobs": _jobs(resources)}, context)


@pytest.mark.parametrize(
    ("base", "tuned", "live", "deploys", "words"),
    [
        (30.0, 24.0, None, True, "20.0% lower"),
        (30.0, 29.4, None, True, "2.0% lower"),
        (30.0, 29.5, None, False, "not sufficiently better than the base model"),
        (30.0, 35.0, None, False, "not sufficiently better than the base model"),
        (30.0, 24.0, 25.0, True, "20.0% lower"),
        (30.0, 24.0, 23.0, False, "worse than the one that is live"),
        (30.0, float("nan"), 25.0, False, "diverged"),
    ],
)
def test_the_gate(
    *,
    resources: DeployedResources,
    context: LambdaContext,
    base: float,
    tuned: float,
    live: float | None,
    deploys: bool,
    words: str,
) -> None:
    decided = _gate(resources, context, base, tuned, live)
    assert decided["deploy"] is deploys
    assert words in decided["decision"]
    assert decided["adapter_uri"].endswith(f"/runs/{RUN}/evaluation/adapter/")
    json.dumps(decided, allow_nan=False)
    run = run_records.get(RUN)
    assert run is not None
    assert run.message == decided["decision"]
    assert run.adapter_sha256 == SHA


def _to_register(decided: dict[str, Any]) -> dict[str, Any]:
    job = f"storyloom-train-{RUN}"
    return {"run_id": RUN, "gate": decided, "training_job": job, "stories": 12, "words": 34567}


def test_register_makes_one_version_however_often_it_is_tried(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    decided = _gate(resources, context, 30.0, 24.0, None)
    first = register(_to_register(decided), context)
    assert register(_to_register(decided), context) == first
    assert first["version"] == "v1"
    (package,) = sagemaker.packages
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["CustomerMetadataProperties"]["tuned_perplexity"] == "24.0000"
    quality = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert quality == f"s3://{resources.artifacts}/{s3_keys.evaluation_json(RUN)}"
    data = package["ModelMetrics"]["ModelDataQuality"]["Statistics"]["S3Uri"]
    assert data == f"s3://{resources.artifacts}/{s3_keys.report(RUN)}"
    known = package["CustomerMetadataProperties"]
    assert known["data_manifest"] == f"s3://{resources.artifacts}/{s3_keys.manifest(RUN)}"
    assert (known["base_revision"], known["adapter_sha256"]) == ("r1", SHA)
    assert (known["run_id"], known["training_job"]) == (RUN, f"storyloom-train-{RUN}")
    assert package["MetadataProperties"] == {"GeneratedBy": f"storyloom-train-{RUN}"}
    model = versions.get("v1")
    assert model is not None
    assert (model.status, model.adapter_sha256) == ("approved", SHA)
    assert (model.stories, model.words, model.decision) == (12, 34567, decided["decision"])


def _registered(resources: DeployedResources, context: LambdaContext) -> dict[str, Any]:
    """Everything before Deploy: base model and adapter in the bucket, the version registered."""
    base = s3_keys.base_model("smollm2-135m", "r1")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        _put(resources.artifacts, base + name, name.encode())
    _put(resources.artifacts, f"{base}staged.json", b'{"hosting": "adapters"}')
    adapter = s3_keys.adapter(RUN)
    _put(resources.artifacts, f"{adapter}adapter_model.safetensors")
    _put(resources.artifacts, f"{adapter}adapter_config.json", b'{"r": 12}')
    decided = _gate(resources, context, 30.0, 24.0, None)
    registered = register(_to_register(decided), context)
    return {"run_id": RUN, "version": registered["version"]}


def _keys(resources: DeployedResources, prefix: str) -> set[str]:
    listed = clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix=prefix).get("Contents", [])
    return {entry["Key"].removeprefix(prefix) for entry in listed}


def _answer(
    version: str, text: str = "Good morning to you, my dear.", reason: str = "stop"
) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"model": version, "choices": [choice]}


def test_the_first_model_is_deployed_tested_and_made_live(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    event = _registered(resources, context)
    deployment = deploy(event, context)
    assert _keys(resources, "hosting/v1/") == {
        "serving.yaml",
        "name_adapter.py",
        "base/config.json",
        "base/model.safetensors",
        "base/tokenizer.json",
        "adapters/v1/adapter_model.safetensors",
        "adapters/v1/adapter_config.json",
    }
    served = clients.s3().get_object(Bucket=resources.artifacts, Key="hosting/v1/serving.yaml")["Body"].read()
    config = yaml.safe_load(served)
    assert config["max-lora-rank"] == 16
    assert config["max-model-len"] == 4096
    assert "chat-template" not in config
    assert json.loads(config["lora-modules"][0]) == {"name": "v1", "path": "/opt/ml/model/adapters/v1"}
    (model,) = sagemaker.models.values()
    assert model["EnableNetworkIsolation"] is True
    assert model["PrimaryContainer"]["Environment"] == {
        "SM_VLLM_CONFIG": "/opt/ml/model/serving.yaml",
        "SM_VLLM_MODEL": "/opt/ml/model/base",
        "CUSTOM_FASTAPI_MIDDLEWARE_PRE_POST_PROCESS": "name_adapter.py:NameAdapter",
    }
    assert model["PrimaryContainer"]["ModelDataSource"]["S3DataSource"]["S3Uri"].endswith("/hosting/v1/")
    looking = {"run_id": RUN, "deployment": deployment}
    assert smoke_test(looking, context)["status"] == "waiting"
    assert hosting_state.state().status == "waking"
    assert versions.live() is None
    sagemaker.in_service()
    sagemaker.answers = [_answer("v1")]
    assert smoke_test(looking, context)["status"] == "passed"
    assert sagemaker.asked[0]["model"] == "v1"
    live = versions.live()
    assert live is not None
    assert (live.version, live.previous, live.adapter_sha256) == ("v1", None, SHA)
    assert hosting_state.state().status == "awake"
    model_now = versions.get("v1")
    assert model_now is not None
    assert model_now.status == "live"
    assert sagemaker.created() == 1


def _second(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn, live_v1: str
) -> dict[str, Any]:
    """v1 live and awake, v2 deployed over it and in service."""
    table.count_up("POINTERS", "VERSIONS")
    old = s3_keys.split(versions.get("v1").adapter_uri)[1]  # type: ignore[union-attr]
    _put(resources.artifacts, f"{old}adapter_model.safetensors")
    _put(resources.artifacts, f"{old}adapter_config.json", b'{"r": 8}')
    from endpoint_manager.handler import handler as endpoint_manager

    endpoint_manager({"action": "wake"}, context)
    sagemaker.in_service()
    endpoint_manager({}, context)
    event = _registered(resources, context)
    deployment = deploy(event, context)
    assert hosting_state.state().status == "awake", "the live version goes on answering"
    assert sagemaker.calls.count("UpdateEndpoint") == 1
    assert "adapters/v1/adapter_config.json" in _keys(resources, "hosting/v2/")
    sagemaker.in_service()
    return {"run_id": RUN, "deployment": deployment}


def test_the_second_model_replaces_the_first_and_keeps_it_preloaded(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn, live_v1: str
) -> None:
    looking = _second(resources, context, sagemaker, live_v1)
    sagemaker.answers = [_answer("v2")]
    assert smoke_test(looking, context)["status"] == "passed"
    live = versions.live()
    assert live is not None
    assert (live.version, live.previous) == ("v2", "v1")
    assert versions.get("v1").status == "previous"  # type: ignore[union-attr]
    # A retry after the pointer was moved changes nothing.
    sagemaker.answers = [_answer("v2")]
    assert smoke_test(looking, context)["status"] == "passed"
    assert versions.live() == live


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([_answer("v2")], "answers and stops"),
        ([_answer("v2", "A long tale of the quay", "length")], "reached the limit of the test"),
        ([_answer("v2", "the hill " * 60, "length"), _answer("v2")], "answers and stops"),
    ],
    ids=["short", "long", "one of two repeats itself"],
)
def test_it_asks_no_more_than_it_needs(
    *,
    resources: DeployedResources,
    context: LambdaContext,
    sagemaker: StandIn,
    live_v1: str,
    answers: list[dict[str, Any]],
    said: str,
) -> None:
    looking = _second(resources, context, sagemaker, live_v1)
    sagemaker.answers = [*answers]
    assert said in smoke_test(looking, context)["message"]
    assert sagemaker.answers == [], "each was asked for"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (_answer("base"), "'base' answered"),
        (_answer("v2", ""), "empty answer"),
        (_answer("v2", "\ufffd\x00\x01\x02" * 20), "no text"),
        (_answer("v2", "the hill " * 60, "length"), "never stops"),
        ({"object": "nonsense"}, "form of a chat completion"),
    ],
)
def test_a_bad_second_model_is_rolled_back(
    *,
    resources: DeployedResources,
    context: LambdaContext,
    sagemaker: StandIn,
    live_v1: str,
    answer: dict[str, Any],
    why: str,
) -> None:
    looking = _second(resources, context, sagemaker, live_v1)
    sagemaker.answers = [answer] * 3
    with pytest.raises(SmokeTestFailed, match=why):
        smoke_test(looking, context)
    assert sagemaker.endpoint is not None
    assert "-v1-" in sagemaker.endpoint["wanted"]
    live = versions.live()
    assert live is not None
    assert live.version == "v1"
    assert versions.get("v2").status == "failed"  # type: ignore[union-attr]
    assert hosting_state.state().version == "v1"


def test_an_update_that_sagemaker_rolls_back_fails_the_smoke_test(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn, live_v1: str
) -> None:
    looking = _second(resources, context, sagemaker, live_v1)
    assert sagemaker.endpoint is not None
    (old,) = [name for name in sagemaker.configs if "-v1-" in name]
    sagemaker.endpoint |= {
        "EndpointConfigName": old,
        "FailureReason": "CannotStartContainerError: driver too old.",
    }
    with pytest.raises(SmokeTestFailed, match="driver too old"):
        smoke_test(looking, context)
    assert hosting_state.state().status == "awake"
    assert hosting_state.state().version == "v1"


def test_a_bad_first_model_leaves_no_endpoint(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn
) -> None:
    deployment = deploy(_registered(resources, context), context)
    sagemaker.in_service()
    sagemaker.answers = [_answer("base")]
    with pytest.raises(SmokeTestFailed):
        smoke_test({"run_id": RUN, "deployment": deployment}, context)
    assert sagemaker.endpoint is None
    assert hosting_state.state().status == "failing"
    assert versions.live() is None


def test_a_bundle_is_not_made_from_half_an_adapter(
    resources: DeployedResources, context: LambdaContext
) -> None:
    event = _registered(resources, context)
    key = f"{s3_keys.adapter(RUN)}adapter_model.safetensors"
    clients.s3().delete_object(Bucket=resources.artifacts, Key=key)
    with pytest.raises(IncompleteModelError, match="lacks adapter_model"):
        deploy(event, context)


def test_the_rank_fits_vllm() -> None:
    config = adapters_config(["v3", "v2"], rank=20)
    assert config["max-lora-rank"] == 32
    assert config["max-loras"] == 2


def test_an_answer_in_any_script_is_text() -> None:
    for text in ("おはようございます。今日はいい天気ですね。", "Dobré ráno, příteli.", "صباح الخير يا صديقي"):
        assert judge("v1", [EndpointAnswer("v1", text, True)]) == "v1 answers and stops."


def test_long_answers_alone_do_not_fail() -> None:
    text = " ".join(f"word{number}" for number in range(200))
    assert "reached the limit of the test" in judge("v1", [EndpointAnswer("v1", text, False)] * 3)


def test_the_message_has_the_figures(resources: DeployedResources, context: LambdaContext) -> None:
    _begin(context)
    run_records.enter(
        RUN, "Gate", base_perplexity=30.0, tuned_perplexity=24.0, version="v1", stories=12, words=9000
    )
    announce({"run_id": RUN, "outcome": "succeeded", "message": "v1 answers and stops."}, context)
    run = run_records.get(RUN)
    assert run is not None
    assert run.status == "succeeded"
    assert run.ended_at is not None
    assert run_records.is_announced(RUN)
    assert lock.holder() is None
