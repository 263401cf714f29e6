"""Deleting the app in the middle of everything leaves what is kept and nothing else; it comes back with it.

On a cloud of its own, for the other journeys need theirs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import numpy as np
import psutil
import pytest
from boto3.dynamodb.conditions import Key
from rich.console import Console
from safetensors.numpy import save

from cli import journey
from cli.app_names import AppNames
from cli.app_resources import list_everything
from cli.aws_target import AwsTarget, on_local_cloud
from cli.progress import wait_for_new_run
from local import deploy, processes
from local.errors import LocalCloudError
from tests.journey.conftest import CHECKOUT, PATIENCE_S, STORIES, Deployed, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

STATE = CHECKOUT / ".local-cloud-destroy"
NAMES = AppNames("storyloom")
RUN_ID = "20260901-100000-aaaa"
ADAPTER = f"runs/{RUN_ID}/training/storyloom-train-{RUN_ID}/output/model/"
QUESTION = [{"role": "user", "content": "Tell me a long story."}]
KEPT_SERVICES = {
    "CloudFormation stacks",
    "S3 buckets",
    "DynamoDB tables",
    # What the account shares, each with its reason.
    "CloudWatch log groups",
    "EventBridge rules",
    "IAM roles",
}
REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
WIDTH, RANK = 576, 4
"""Of the base model's hidden states, and of the adapter."""


@pytest.fixture(scope="module")
def places() -> Iterator[journey.Places]:
    shutil.rmtree(STATE, ignore_errors=True)
    ports = journey.free_port(4776), journey.free_port(8610)
    yield journey.Places(CHECKOUT, STATE, *ports, {"max_training_minutes": "10"})
    shutil.rmtree(STATE, ignore_errors=True)


def test_everything_goes_but_the_stories_and_comes_back_with_them(places: journey.Places) -> None:
    with journey.running_cloud(places, Console(stderr=True)) as cloud:
        house = _deployed(cloud)
        _make_v1_live(house)
        key = house.api.create_key("program", ["chat"], 60)["key"]
        assert _status_with(house, key) == httpx.codes.OK
        _start_training(house)
        with _answer_in_progress(house):
            destroyed = _storyloom_destroy()
        _nothing_is_left_but_the_stories(house, destroyed)

        cloud.deploy(lambda line: None)
        again = _deployed(cloud)
        assert again.outputs["StoriesBucketName"] == house.outputs["StoriesBucketName"]
        assert {story["key"] for story in again.api.stories()} >= {path.name for path in STORIES}
        again.answers_as("v1")
        assert _status_with(again, key) in REFUSED, "its maker is gone"

        with _answer_in_progress(again):
            deploy.destroy(cloud, lambda line: None, "Storyloom-Pipeline")
        _nothing_is_left_but_the_stories(again, None)
        with pytest.raises(LocalCloudError, match="TerminationProtection is enabled"):
            deploy.destroy(cloud, lambda line: None)
        _the_stories_go_only_when_they_are_named(again)


def _deployed(cloud: Any) -> Deployed:
    environment = cloud.environment()
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    return Deployed(cloud, session, cloud.description()["outputs"], journey.signed_in(cloud))


def _make_v1_live(house: Deployed) -> None:
    """A version as a run makes one, but that its adapter changes nothing; deployed by a real run."""
    bucket, adapter = house.outputs["ArtifactsBucketName"], _adapter()
    for name, body in adapter.items():
        house.client("s3").put_object(Bucket=bucket, Key=f"{ADAPTER}{name}", Body=body)
    arn = house.client("sagemaker").create_model_package(
        ModelPackageGroupName="storyloom",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/vllm:1"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    house.table().put_item(
        Item={
            "pk": "MODELS",
            "sk": "v1",
            "version": "v1",
            "run_id": RUN_ID,
            "status": "approved",
            "adapter_uri": f"s3://{bucket}/{ADAPTER}",
            "adapter_sha256": hashlib.sha256(adapter["adapter_model.safetensors"]).hexdigest(),
            "model_package_arn": arn,
            "created_at": "2026-09-01T10:00:00.000Z",
            **_base(house),
        }
    )
    house.table().put_item(Item={"pk": "POINTERS", "sk": "VERSIONS", "n": 1})
    known = {run["run_id"] for run in house.api.runs()}
    house.api.decide_version("v1", "activate")
    run = house.finished_run(wait_for_new_run(house.api, known, PATIENCE_S))
    assert run["status"] == "succeeded", run


def _base(house: Deployed) -> dict[str, str]:
    functions = house.client("lambda").get_paginator("list_functions").paginate()
    variables = next(
        function["Environment"]["Variables"]
        for page in functions
        for function in page["Functions"]
        if "STORYLOOM_BASE_MODEL" in function.get("Environment", {}).get("Variables", {})
    )
    base = json.loads(variables["STORYLOOM_BASE_MODEL"])
    return {"base_model": base["id"], "base_revision": base["revision"]}


def _adapter() -> dict[str, bytes]:
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    weights = {
        f"{layer}.lora_A.weight": np.zeros((RANK, WIDTH), np.float32),
        f"{layer}.lora_B.weight": np.zeros((WIDTH, RANK), np.float32),
    }
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base",
        "r": RANK,
        "lora_alpha": RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj"],
        "layers_to_transform": [0],
    }
    return {"adapter_model.safetensors": save(weights), "adapter_config.json": json.dumps(config).encode()}


def _start_training(house: Deployed) -> None:
    """Drop stories, and wait until the run that they start trains."""
    known = {run["run_id"] for run in house.api.runs()}
    house.drop({path.name: path.read_bytes() for path in STORIES})
    run_id = wait_for_new_run(house.api, known, PATIENCE_S)
    wait_for(lambda: "Train" in [state["name"] for state in house.api.run(run_id)["states"]] or None)
    jobs = house.client("sagemaker")
    wait_for(lambda: jobs.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"] or None)


class _answer_in_progress:  # noqa: N801 - a context manager
    """An answer whose first words have come, and which goes on."""

    def __init__(self, house: Deployed) -> None:
        connection = house.api.connection
        body = {"messages": QUESTION, "stream": True, "max_tokens": 1500, "temperature": 1.0}
        self._stream = httpx.stream(
            "POST",
            f"{connection.url}/api/v1/chat/completions",
            json=body,
            headers=connection.headers,
            timeout=PATIENCE_S,
        )

    def __enter__(self) -> None:
        response = self._stream.__enter__()
        lines = (line for line in response.iter_lines() if line.startswith("data: {"))
        next(line for line in lines if json.loads(line[6:])["choices"][0]["delta"].get("content"))

    def __exit__(self, *raised: Any) -> None:
        self._stream.__exit__(None, None, None)


def _storyloom_destroy(*more: str, expect: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-m", "cli", "destroy", "--yes", "--json", "--state", STATE.name, *more]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return dict(json.loads(done.stdout)) if done.stdout else {"said": done.stderr}


def _nothing_is_left_but_the_stories(house: Deployed, destroyed: dict[str, Any] | None) -> None:
    target: AwsTarget = on_local_cloud(house.cloud.description())
    listing = list_everything(target, NAMES)
    assert not listing.left, [str(found) for found in listing.left]
    assert not listing.unlisted
    assert {found.service for found in listing.kept} <= KEPT_SERVICES
    if destroyed is not None:
        assert destroyed["left"] == [] and destroyed["unlisted"] == []
        assert destroyed["deleted_stacks"] == list(NAMES.stacks)
    assert house.engines() == []
    assert _job_processes(house) == []
    groups = [group["logGroupName"] for group in house.client("logs").describe_log_groups()["logGroups"]]
    assert not [group for group in groups if group.startswith("API-Gateway-Execution-Logs_")]
    assert not [group for group in groups if group.startswith("/aws/lambda/Storyloom")]
    _records_are_at_rest(house)


def _job_processes(house: Deployed) -> list[psutil.Process]:
    mine = processes.belonging_to(processes.cloud_id(house.cloud.folders.state))
    return [process for process in mine if any("train.py" in word for word in process.cmdline())]


def _records_are_at_rest(house: Deployed) -> None:
    """The kept table says nothing of what is gone."""
    table = house.table()
    assert "Item" not in table.get_item(Key={"pk": "LOCK", "sk": "PIPELINE"})
    runs = table.query(KeyConditionExpression=Key("pk").eq("RUNS"))["Items"]
    assert not [run for run in runs if run["status"] in ("running", "waiting")]
    assert table.get_item(Key={"pk": "HOSTING", "sk": "STATE"})["Item"]["status"] == "asleep"
    versions = table.query(KeyConditionExpression=Key("pk").eq("MODELS"))["Items"]
    assert [version["version"] for version in versions] == ["v1"]
    assert "model_package_arn" not in versions[0]
    assert all(
        "revoked_at" in key for key in table.query(KeyConditionExpression=Key("pk").eq("KEYS"))["Items"]
    )


def _status_with(house: Deployed, key: str) -> int:
    return httpx.get(
        f"{house.api.connection.url}/api/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=60
    ).status_code


def _the_stories_go_only_when_they_are_named(house: Deployed) -> None:
    refused = _storyloom_destroy("--stories", "--confirm", "storyloon", expect=1)
    assert "Nothing was deleted" in refused["said"]
    assert house.client("s3").list_objects_v2(Bucket=house.outputs["StoriesBucketName"])["KeyCount"]
    gone = _storyloom_destroy("--stories", "--confirm", "storyloom")
    assert not [kept for kept in gone["kept"] if kept["service"] in ("S3 buckets", "DynamoDB tables")]
    assert NAMES.storage_stack in gone["deleted_stacks"]
