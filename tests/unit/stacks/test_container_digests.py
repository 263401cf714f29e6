"""Containers are used by their digest once it has been looked up."""

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from stacks import containers
from stacks.containers import hosting_image, training_image

_REGION, _INSTANCE = "eu-west-1", "ml.g6.xlarge"
_DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def image() -> str:
    """The image that hosts, by its tag."""
    return hosting_image(_REGION, _INSTANCE)


@pytest.fixture(autouse=True)
def digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of digests of this test's own, with none."""
    file = tmp_path / "digests.json"
    file.write_text("{}")
    monkeypatch.setattr(containers, "DIGESTS", file)
    return file


def test_an_image_is_used_by_its_digest_if_it_is_known(image: str, digests: Path) -> None:
    assert containers.pinned(image) == image
    digests.write_text(json.dumps({image: _DIGEST}))
    by_digest = containers.pinned(image)
    assert by_digest == f"{image.split(':', maxsplit=1)[0]}@{_DIGEST}"
    assert containers.repository_of(by_digest) == containers.repository_of(image) == "vllm"
    assert containers.registry_account(by_digest) == "763104351884"


def _ecr(image: str, images: list[dict[str, Any]]) -> Any:
    """A client whose request and answer are checked against the model of ECR."""
    client: Any = boto3.client("ecr", _REGION, aws_access_key_id="a", aws_secret_access_key="b")
    stubbed = Stubber(client)
    asked = {
        "registryId": "763104351884",
        "repositoryName": containers.repository_of(image),
        "imageIds": [{"imageTag": image.rpartition(":")[2]}],
        "acceptedMediaTypes": containers._MANIFESTS,
    }
    stubbed.add_response("batch_get_image", {"images": images, "failures": []}, asked)
    stubbed.activate()
    return client


def test_the_registry_is_queried_by_tag(image: str) -> None:
    tag = image.rpartition(":")[2]
    found = [{"imageId": {"imageTag": tag, "imageDigest": _DIGEST}}]
    assert containers.look_up(_ecr(image, found), image) == _DIGEST
    with pytest.raises(containers.UnknownImageError, match="0 images"):
        containers.look_up(_ecr(image, []), image)


def test_the_command_saves_both_digests(
    digests: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(containers, "look_up", lambda _ecr, _image: _DIGEST)
    monkeypatch.setattr(sys, "argv", ["container_digests", "--region", _REGION])
    containers.main()
    images = {training_image(_REGION, _INSTANCE), hosting_image(_REGION, _INSTANCE)}
    assert json.loads(digests.read_text()) == dict.fromkeys(images, _DIGEST)
    assert _DIGEST in capsys.readouterr().out


def test_the_repository_contains_digests_of_images_only() -> None:
    kept = json.loads(Path(containers.__file__).with_name("container_digests.json").read_text())
    for image, digest in kept.items():
        assert ".dkr.ecr." in image and ":" in image
        assert len(digest) == len(_DIGEST) and digest.startswith("sha256:")
