"""The containers that train and host: AWS's images, pinned by digest because AWS can move a tag.

AWS publishes no list of digests, but a registry returns them to any signed-in account. `python -m
stacks.containers` looks up the digests of the two images in one region and writes them to
`container_digests.json`, to be committed. An image that is not in the file is used by its full tag.
"""

import argparse
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

CACHED_ANSWERS = Path(__file__).resolve().parent.parent / ".build" / "container-images.json"
"""Cache of the sagemaker package's answers: it takes as long to load as all the rest of a synthesis."""
DIGESTS = Path(__file__).with_name("container_digests.json")
_MANIFESTS = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
]


class UnknownImageError(Exception):
    """The registry does not have the image."""


def training_image(region: str, instance: str) -> str:
    """Return the image that trains and evaluates: Hugging Face's transformers on PyTorch.

    Raises:
        ValueError: AWS publishes no image for this region or instance.
    """
    return _image(
        framework="huggingface",
        region=region,
        version="5.3.0",
        base_framework_version="pytorch2.9.0",
        py_version="py312",
        image_scope="training",
        instance_type=instance,
    )


def hosting_image(region: str, instance: str) -> str:
    """Return the image that hosts: vLLM.

    Raises:
        ValueError: AWS publishes no image for this region or instance.
    """
    return _image(
        framework="vllm", region=region, version="0.30.0", image_scope="inference", instance_type=instance
    )


def registry_account(image: str) -> str:
    """Return the account whose registry has an image."""
    return image.split(".", 1)[0]


def pinned(image: str) -> str:
    """Return the image's address with its digest if it is known, otherwise with its tag."""
    digest = known_digests().get(image)
    return f"{image.rpartition(':')[0]}@{digest}" if digest else image


def repository_of(image: str) -> str:
    """Return the repository name in an image's address, which has a tag or a digest."""
    return image.partition("/")[2].partition("@")[0].partition(":")[0]


def known_digests() -> dict[str, str]:
    """Read the digests that were looked up, by the images' addresses with tags."""
    digests: dict[str, str] = json.loads(DIGESTS.read_text())
    return digests


def look_up(ecr: Any, image: str) -> str:
    """Look up an image's digest in its registry.

    Args:
        ecr: client of ECR in the image's region; it needs only `ecr:BatchGetImage`.
        image: the image's address with its tag.

    Raises:
        UnknownImageError: the registry does not have the image.
    """
    answer = ecr.batch_get_image(
        registryId=registry_account(image),
        repositoryName=repository_of(image),
        imageIds=[{"imageTag": image.rpartition(":")[2]}],
        acceptedMediaTypes=_MANIFESTS,
    )
    digests = {found["imageId"]["imageDigest"] for found in answer["images"]}
    if len(digests) != 1:
        raise UnknownImageError(
            f"The registry has {len(digests)} images for {image}, but exactly one was expected. "
            "Check the region and the tag."
        )
    return str(digests.pop())


def _image(**query: str) -> str:
    """Return the sagemaker package's answer, which is cached for each of its versions."""
    cache_key = json.dumps({"sagemaker-core": metadata.version("sagemaker-core"), **query}, sort_keys=True)
    answers = _cached_answers()
    if cache_key not in answers:
        from sagemaker.core import image_uris  # noqa: PLC0415 (seconds)

        answers[cache_key] = str(image_uris.retrieve(**query))
        _cache(answers)
    return answers[cache_key]


def _cached_answers() -> dict[str, str]:
    try:
        answers: dict[str, str] = json.loads(CACHED_ANSWERS.read_text())
    except (OSError, ValueError):
        return {}
    return answers


def _cache(answers: dict[str, str]) -> None:
    """Replace the file whole: another synthesis may be reading it."""
    CACHED_ANSWERS.parent.mkdir(exist_ok=True)
    new = CACHED_ANSWERS.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(answers, indent=2, sort_keys=True) + "\n")
    new.replace(CACHED_ANSWERS)


def main() -> None:
    """Look up the digests of both images in a region and save them."""
    import boto3  # noqa: PLC0415 (takes a second to import, and synth does not need it)

    parser = argparse.ArgumentParser(description="Write the digests of the containers that train and host.")
    parser.add_argument("--region", help="region of the registry (default: the AWS profile's)")
    parser.add_argument("--training-instance", default="ml.g6.xlarge", help="instance type that trains")
    parser.add_argument("--hosting-instance", default="ml.g6.xlarge", help="instance type that hosts")
    given = parser.parse_args()
    region = given.region or boto3.Session().region_name
    if not region:
        parser.error("No region is set. Give one with --region, such as --region eu-west-1.")
    ecr = boto3.client("ecr", region_name=region)
    digests = known_digests()
    for image in (
        training_image(region, given.training_instance),
        hosting_image(region, given.hosting_instance),
    ):
        try:
            digests[image] = look_up(ecr, image)
        except UnknownImageError as unknown:
            sys.exit(str(unknown))
        print(f"{image}\n  {digests[image]}")
    DIGESTS.write_text(json.dumps(digests, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
