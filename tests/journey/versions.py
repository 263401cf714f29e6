"""Versions that no training made: what has to be live, or chosen, before a test can begin."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

import numpy as np
from boto3.dynamodb.conditions import Key
from safetensors.numpy import save

from cli.run_progress import wait_for_new_run
from tests.journey.deployed_app import PATIENCE_S, Deployed

RUN_ID = "20260901-100000-aaaa"
ADAPTER = f"runs/{RUN_ID}/training/storyloom-train-{RUN_ID}/output/model/"
WIDTH, RANK = 576, 4
"""Of the base model's hidden states, and of the adapter."""
_FURTHER = itertools.count(90)


def copy_of(deployed: Deployed, version: str) -> str:
    """Register a further approved version: the adapter of this one by another name."""
    table = deployed.table()
    (item,) = table.query(KeyConditionExpression=Key("pk").eq("MODELS") & Key("sk").eq(version))["Items"]
    # no run of these tests makes so many versions
    name = f"v{next(_FURTHER)}"
    table.put_item(Item={**item, "sk": name, "version": name, "status": "approved"})
    return name


def make_v1_live(deployed: Deployed) -> str:
    """Make a version as a run does, but that its adapter changes nothing; a real run deploys it."""
    bucket, adapter = deployed.outputs["ArtifactsBucketName"], _adapter()
    for name, body in adapter.items():
        deployed.client("s3").put_object(Bucket=bucket, Key=f"{ADAPTER}{name}", Body=body)
    arn = deployed.client("sagemaker").create_model_package(
        ModelPackageGroupName="storyloom",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/vllm:1"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    deployed.table().put_item(
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
            **_base(deployed),
        }
    )
    deployed.table().put_item(Item={"pk": "POINTERS", "sk": "VERSIONS", "n": 1})
    activate(deployed, "v1")
    return "v1"


def activate(deployed: Deployed, version: str) -> dict[str, Any]:
    """Have a version answer; returns the run that brought it up."""
    known = {run["run_id"] for run in deployed.api.runs()}
    deployed.api.decide_version(version, "activate")
    run = deployed.finished_run(wait_for_new_run(deployed.api, known, PATIENCE_S))
    assert run["status"] == "succeeded", run
    return run


def _base(deployed: Deployed) -> dict[str, str]:
    functions = deployed.client("lambda").get_paginator("list_functions").paginate()
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
