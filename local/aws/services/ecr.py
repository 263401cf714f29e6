"""ECR: AWS's own registries of container images, which hold the images that the SageMaker SDK lists.

MiniStack has the account's own registry only. An image of AWS's is in the registry of its region only, and
ECR answers for a registry of another account as for one's own.
https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/sagemaker-algo-docker-registry-paths.html
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import ecr

Json = dict[str, Any]

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Repository(NamedTuple):
    """A repository of AWS's in one region."""

    account: str
    region: str
    name: str


def install() -> None:
    """Answer BatchGetImage for registries of other accounts too."""
    own = ecr._batch_get_image

    def batch_get_image(request: Json) -> Any:
        registry = request.get("registryId") or get_account_id()
        if registry == get_account_id():
            return own(request)
        return _images_of_other_account(request, registry)

    ecr._batch_get_image = batch_get_image


def _images_of_other_account(request: Json, registry: str) -> Any:
    name = request["repositoryName"]
    images, failures = [], []
    for wanted in request["imageIds"]:
        there = is_published(registry, get_region(), name, wanted.get("imageTag", ""))
        if there is None:
            message = f"The repository with name '{name}' does not exist in the registry with id '{registry}'"
            return error_response_json("RepositoryNotFoundException", message, 400)
        if there:
            digest = hashlib.sha256(f"{name}:{wanted.get('imageTag')}".encode()).hexdigest()
            found = {"imageDigest": f"sha256:{digest}", **wanted}
            image = {"registryId": registry, "repositoryName": name, "imageId": found}
            images.append({**image, "imageManifest": "{}", "imageManifestMediaType": _MANIFEST})
        else:
            reason = {"failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
            failures.append({"imageId": wanted, **reason})
    return json_response({"images": images, "failures": failures})


def is_published(account: str, region: str, name: str, tag: str) -> bool | None:
    """Tell whether a registry has an image; None if it has no such repository."""
    versions = _published().get(Repository(account, region, name))
    return None if versions is None else tag.endswith(tuple(versions))


@cache
def _published() -> dict[Repository, set[str]]:
    """Read the ends of the tags (`cu130-ubuntu22.04`) of each repository."""
    found: dict[Repository, set[str]] = {}
    for path in sorted(_descriptions().glob("*.json")):
        for image in _images(json.loads(path.read_text())):
            versions = image.get("container_version", {})
            for region, account in image["registries"].items():
                repository = Repository(account, region, image["repository"])
                found.setdefault(repository, set()).update(versions.values())
    return found


def _images(node: Any) -> Iterator[dict[str, Any]]:
    """Find the descriptions of images, which lie at different depths for each framework."""
    if not isinstance(node, dict):
        return
    if isinstance(node.get("registries"), dict) and "repository" in node:
        yield node
    for inner in node.values():
        yield from _images(inner)


def _descriptions() -> Path:
    # Importing the package would take seconds; only its files are wanted.
    package = importlib.util.find_spec("sagemaker")
    for folder in (package.submodule_search_locations or ()) if package else ():
        descriptions = Path(folder) / "core" / "image_uri_config"
        if descriptions.is_dir():
            return descriptions
    raise RuntimeError("The package sagemaker-core has no descriptions of images: an upgrade has moved them.")
