"""The part of `ministack_adapter` for ECR: MiniStack knows the account's own registry only."""

import hashlib
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import ecr

Json = dict[str, Any]
Published = Callable[[str, str, str, str], bool | None]
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def answer_for_other_registries(is_published: Published) -> None:
    """Answer BatchGetImage for registries of other accounts.

    Args:
        is_published: called with account, region, repository and tag; None if there is no such repository.
    """
    own = ecr._batch_get_image

    def batch_get_image(request: Json) -> Any:
        registry = request.get("registryId") or get_account_id()
        if registry == get_account_id():
            return own(request)
        return _foreign(request, registry, is_published)

    ecr._batch_get_image = batch_get_image


def _foreign(request: Json, registry: str, is_published: Published) -> Any:
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
