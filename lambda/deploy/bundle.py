"""The hosting bundle: one S3 folder that the endpoint loads as it is.

It contains the base model and adapters, or one version's merged weights if vLLM cannot serve the base model
with adapters.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from boto3.s3.transfer import TransferConfig

from contracts import environment, s3_keys
from shared.aws import clients
from shared.items import ModelVersion
from shared.models import staged, versions

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CopySourceTypeDef, ObjectTypeDef

# Defaults of requests. Without the penalty, small models that continue a story fall into loops; it
# multiplies, so that the first repetition of a word costs as much as the tenth.
_STORYTELLING = {"temperature": 0.7, "top_p": 0.95, "repetition_penalty": 1.1}
_MODEL_DIR = "/opt/ml/model"
_CONTEXT_TOKENS = 4096
"""Longest context served; more would cost GPU memory that small instances need for concurrent chats."""
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_NAME_ADAPTER = Path(__file__).with_name("name_adapter.py")
"""The file of the bundle that `endpoint_configs.CONTAINER_VARIABLES` names."""
# S3 copies objects over 5 GB in parts only; larger parts than the default mean fewer calls.
_IN_PARTS = TransferConfig(
    multipart_threshold=512 * 2**20, multipart_chunksize=256 * 2**20, max_concurrency=10
)

_SOURCE_ETAG = "source-etag"
"""Metadata of a copy: the ETag of its source, because a copy in parts has another ETag."""


class IncompleteModelError(Exception):
    """A source folder of the bundle lacks files."""


@dataclass(frozen=True)
class Bundle:
    """What the endpoint loads."""

    uri: str
    """S3 URI, with a slash at its end."""
    merged: bool
    """Whether it contains only one version, and neither the base model nor another version."""


def build(candidate: ModelVersion, previous: ModelVersion | None) -> Bundle:
    """Copy everything that the endpoint needs below `hosting/<version>/`, inside S3.

    What an earlier attempt has copied is not copied again.

    Args:
        candidate: the version that the bundle is for.
        previous: the version to preload, of the same base model; a merged bundle cannot contain it.

    Raises:
        IncompleteModelError: the base model, the merged weights or an adapter are not complete.
    """
    common = environment.common()
    base, version = common.base_model, candidate.version
    there = staged.read_staged()
    if there is None:
        source = s3_keys.uri(common.artifacts_bucket, s3_keys.base_model(base.slug, base.revision))
        raise IncompleteModelError(
            f"The base model is not in {source}. Start the run again: it is staged first."
        )
    _delete_retired(version)
    merged = there.hosting == "merged"
    config = common_config(base.context_length)
    if merged:
        _copy_merged(candidate)
        config |= merged_config(version)
    else:
        _copy_base(version)
        adapters = {model.version: model.adapter_uri for model in (candidate, previous) if model is not None}
        config |= adapters_config(list(adapters), _copy_adapters(version, adapters))
    if not base.chat:
        _copy_chat_template(candidate)
        config["chat-template"] = f"{_MODEL_DIR}/{s3_keys.CHAT_TEMPLATE}"
    text = yaml.safe_dump(config, sort_keys=False, width=1000)
    _put(s3_keys.serving_yaml(version), text.encode())
    _put(f"{s3_keys.hosting(version)}{_NAME_ADAPTER.name}", _NAME_ADAPTER.read_bytes())
    return Bundle(s3_keys.uri(common.artifacts_bucket, s3_keys.hosting(version)), merged)


def adapters_config(adapters: list[str], rank: int) -> dict[str, Any]:
    """Return the part of vLLM's configuration for a base model with adapters.

    Args:
        adapters: versions, newest first.
        rank: the greatest LoRA rank among them.
    """
    return {
        "served-model-name": ["base"],
        "enable-lora": True,
        "max-lora-rank": next((allowed for allowed in _VLLM_RANKS if allowed >= rank), rank),
        # With 1, vLLM's default, chats with one version would wait for chats with the other.
        "max-loras": len(adapters),
        "lora-modules": [
            json.dumps({"name": name, "path": f"{_MODEL_DIR}/adapters/{name}"}) for name in adapters
        ],
    }


def merged_config(version: str) -> dict[str, Any]:
    """Return the part of vLLM's configuration for one version that is merged into its base model.

    Answers contain the first name, the version. The API uses the second name for the version that the
    endpoint has: while one version replaces another, only one of them exists.
    """
    return {"served-model-name": [version, versions.LIVE_NAME]}


def common_config(context_length: int) -> dict[str, Any]:
    """Return the part of vLLM's configuration for any base model with this context length, in tokens."""
    return {
        "model": f"{_MODEL_DIR}/base",
        "max-model-len": min(context_length, _CONTEXT_TOKENS),
        "override-generation-config": json.dumps(_STORYTELLING),
    }


def _copy_base(version: str, *, exclude: Callable[[str], bool] = lambda name: False) -> set[str]:
    """Copy the staged base model except some files; returns the names of the copied files."""
    common = environment.common()
    source = s3_keys.base_model(common.base_model.slug, common.base_model.revision)
    bucket = common.artifacts_bucket
    return _copy_folder(bucket, source, bucket, s3_keys.hosted_base(version), exclude=exclude)


def _copy_merged(model: ModelVersion) -> None:
    """Copy the merged weights instead of the base model's, and the other files of the base model."""
    bucket, source = environment.common().artifacts_bucket, s3_keys.merged(model.run_id)
    target = s3_keys.hosted_base(model.version)
    weights = _copy_folder(bucket, source, bucket, target, exclude=lambda name: not _is_weights(name))
    if not any(name.endswith(".safetensors") for name in weights):
        raise IncompleteModelError(
            f"{model.version} has no merged weights in {s3_keys.uri(bucket, source)}, and its base model "
            "cannot be hosted with an adapter. Start a run: it makes a version that has them."
        )
    _copy_base(model.version, exclude=_is_weights)


def _copy_adapters(version: str, adapters: dict[str, str]) -> int:
    """Copy adapters from their S3 folders; returns their greatest rank."""
    bucket, rank = environment.common().artifacts_bucket, 1
    for name, uri in adapters.items():
        adapter_bucket, prefix = s3_keys.split(uri)
        copied = _copy_folder(adapter_bucket, prefix, bucket, s3_keys.hosted_adapter(version, name))
        missing = set(s3_keys.ADAPTER_FILES) - copied
        if missing:
            raise IncompleteModelError(f"The adapter {name} in {uri} lacks {', '.join(sorted(missing))}.")
        rank = max(rank, _rank(adapter_bucket, prefix))
    return rank


def _copy_chat_template(model: ModelVersion) -> None:
    bucket, prefix = s3_keys.split(model.adapter_uri)
    found = _objects(bucket, f"{prefix}{s3_keys.CHAT_TEMPLATE}")
    if not found:
        raise IncompleteModelError(
            f"{model.version} has no chat template for its base model: there is no "
            f"{s3_keys.CHAT_TEMPLATE} in {model.adapter_uri}. Start a run: it makes a version that has one."
        )
    template = clients.s3().get_object(Bucket=bucket, Key=f"{prefix}{s3_keys.CHAT_TEMPLATE}")["Body"].read()
    _put(s3_keys.chat_template(model.version), template)


def _is_weights(name: str) -> bool:
    return name.endswith((".safetensors", ".safetensors.index.json"))


def _put(key: str, body: bytes) -> None:
    clients.s3().put_object(Bucket=environment.common().artifacts_bucket, Key=key, Body=body)


def _copy_folder(
    from_bucket: str,
    from_prefix: str,
    to_bucket: str,
    to_prefix: str,
    *,
    exclude: Callable[[str], bool] = lambda name: False,
) -> set[str]:
    """Copy a folder's objects except `staged.json` and some files; returns the names of the copied objects.

    An object is not copied again if the copy is of the current object.
    """
    s3 = clients.s3()
    there = {entry["Key"] for entry in _objects(to_bucket, to_prefix)}
    names: set[str] = set()
    for entry in _objects(from_bucket, from_prefix):
        name = entry["Key"].removeprefix(from_prefix)
        if not name or name.endswith("/") or name == s3_keys.STAGED_FILE or exclude(name):
            continue
        names.add(name)
        if to_prefix + name not in there or _copied_from(to_bucket, to_prefix + name) != entry["ETag"]:
            source: CopySourceTypeDef = {"Bucket": from_bucket, "Key": entry["Key"]}
            as_listed = {
                "CopySourceIfMatch": entry["ETag"],
                "Metadata": {_SOURCE_ETAG: entry["ETag"]},
                "MetadataDirective": "REPLACE",
            }
            s3.copy(source, to_bucket, to_prefix + name, ExtraArgs=as_listed, Config=_IN_PARTS)
    return names


def _copied_from(bucket: str, key: str) -> str | None:
    """Return the ETag of an object's source; None if it was not recorded."""
    return clients.s3().head_object(Bucket=bucket, Key=key)["Metadata"].get(_SOURCE_ETAG)


def _delete_retired(version: str) -> None:
    """Delete retired objects: the bucket's lifecycle might delete them later, under the endpoint."""
    bucket = environment.common().artifacts_bucket
    for entry in _objects(bucket, s3_keys.hosting(version)):
        tags = clients.s3().get_object_tagging(Bucket=bucket, Key=entry["Key"])["TagSet"]
        if any(tag["Key"] == s3_keys.RETIRED for tag in tags):
            clients.s3().delete_object(Bucket=bucket, Key=entry["Key"])


def _objects(bucket: str, prefix: str) -> "list[ObjectTypeDef]":
    pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get("Contents", [])]


def _rank(bucket: str, prefix: str) -> int:
    key = f"{prefix}{s3_keys.ADAPTER_CONFIG}"
    return int(json.loads(clients.s3().get_object(Bucket=bucket, Key=key)["Body"].read())["r"])
