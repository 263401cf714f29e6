"""The hosting bundle: base model and adapters in one S3 folder that the endpoint loads as it is."""

import json
from typing import TYPE_CHECKING

import yaml
from boto3.s3.transfer import TransferConfig

from shared import aws, environment, layout

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CopySourceTypeDef, ObjectTypeDef

# What a request that does not say gets. Small models told to continue a story fall into loops without the
# penalty; it multiplies, so that a word's first repetition costs as much as its tenth.
_STORYTELLING = {"temperature": 0.7, "top_p": 0.95, "repetition_penalty": 1.1}
_MODEL_DIR = "/opt/ml/model"
_CONTEXT_TOKENS = 4096
"""Longest context served; more would cost GPU memory that small instances need for concurrent chats."""
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# S3 copies objects over 5 GB in parts only; larger parts than the default mean fewer calls.
_IN_PARTS = TransferConfig(
    multipart_threshold=512 * 2**20, multipart_chunksize=256 * 2**20, max_concurrency=10
)


class IncompleteModelError(Exception):
    """A folder that the bundle is made from lacks files."""


def build(version: str, adapters: dict[str, str]) -> str:
    """Copy everything the endpoint needs below `hosting/<version>/`, inside S3.

    What an earlier try has copied is not copied again.

    Args:
        version: the version that the bundle is for.
        adapters: S3 URI of each adapter's folder by version, newest first.

    Returns:
        The bundle's S3 URI, with a slash at its end.

    Raises:
        IncompleteModelError: where the base model or an adapter is not complete.
    """
    common = environment.common()
    bucket, base = common.artifacts_bucket, common.base_model
    source = layout.base_model(base.slug, base.revision)
    if not _copy_folder(bucket, source, bucket, layout.hosted_base(version)):
        raise IncompleteModelError(
            f"The base model is not in {layout.uri(bucket, source)}. Start the run again: it is staged first."
        )
    rank = 1
    for name, uri in adapters.items():
        adapter_bucket, prefix = layout.split(uri)
        copied = _copy_folder(adapter_bucket, prefix, bucket, layout.hosted_adapter(version, name))
        missing = set(layout.ADAPTER_FILES) - copied
        if missing:
            raise IncompleteModelError(f"The adapter {name} in {uri} lacks {', '.join(sorted(missing))}.")
        rank = max(rank, _rank(adapter_bucket, prefix))
    config = serving_config(list(adapters), rank, base.context_length)
    aws.s3().put_object(Bucket=bucket, Key=layout.serving_yaml(version), Body=config.encode())
    return layout.uri(bucket, layout.hosting(version))


def serving_config(adapters: list[str], rank: int, context_length: int) -> str:
    """Write vLLM's configuration file.

    Args:
        adapters: versions, newest first.
        rank: the greatest LoRA rank among them.
        context_length: tokens that the base model can take.
    """
    config = {
        "model": f"{_MODEL_DIR}/base",
        "served-model-name": ["base"],
        "enable-lora": True,
        "max-lora-rank": next((allowed for allowed in _VLLM_RANKS if allowed >= rank), rank),
        "max-model-len": min(context_length, _CONTEXT_TOKENS),
        "override-generation-config": json.dumps(_STORYTELLING),
        "lora-modules": [
            json.dumps({"name": name, "path": f"{_MODEL_DIR}/adapters/{name}"}) for name in adapters
        ],
    }
    return yaml.safe_dump(config, sort_keys=False, width=1000)


def _copy_folder(from_bucket: str, from_prefix: str, to_bucket: str, to_prefix: str) -> set[str]:
    """Copy a folder's objects, all but `staged.json`; returns their names below the folder."""
    s3 = aws.s3()
    there = {entry["Key"]: entry["Size"] for entry in _objects(to_bucket, to_prefix)}
    names: set[str] = set()
    for entry in _objects(from_bucket, from_prefix):
        name = entry["Key"].removeprefix(from_prefix)
        if not name or name.endswith("/") or name == "staged.json":
            continue
        names.add(name)
        if there.get(to_prefix + name) != entry["Size"]:
            source: CopySourceTypeDef = {"Bucket": from_bucket, "Key": entry["Key"]}
            s3.copy(source, to_bucket, to_prefix + name, Config=_IN_PARTS)
    return names


def _objects(bucket: str, prefix: str) -> "list[ObjectTypeDef]":
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get("Contents", [])]


def _rank(bucket: str, prefix: str) -> int:
    key = f"{prefix}adapter_config.json"
    return int(json.loads(aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read())["r"])
