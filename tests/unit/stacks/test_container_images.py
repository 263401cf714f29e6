"""The container images, and what is kept of the answers to the question for them."""

import json
import sys
from pathlib import Path

import pytest

from stacks import container_images

_REGION, _INSTANCE = "eu-west-1", "ml.g6.xlarge"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of answers of this test's own, which is not there yet."""
    file = tmp_path / ".build" / "container-images.json"
    monkeypatch.setattr(container_images, "KEPT_ANSWERS", file)
    return file


def test_the_second_question_needs_no_package(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = container_images.training_image(_REGION, _INSTANCE)
    assert f".dkr.ecr.{_REGION}.amazonaws.com/huggingface-pytorch-training:" in image
    monkeypatch.setitem(sys.modules, "sagemaker.core", None)
    assert container_images.training_image(_REGION, _INSTANCE) == image
    assert list(kept.parent.iterdir()) == [kept]
    with pytest.raises(ImportError):
        container_images.hosting_image(_REGION, _INSTANCE)


def test_another_version_of_the_package_is_asked_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = container_images.hosting_image(_REGION, _INSTANCE)
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "0.0.0")
    assert container_images.hosting_image(_REGION, _INSTANCE) == image
    assert len(json.loads(kept.read_text())) == 2


def test_a_file_that_was_cut_off_is_written_anew(kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_text('{"cut')
    image = container_images.hosting_image(_REGION, _INSTANCE)
    assert list(json.loads(kept.read_text()).values()) == [image]


def test_a_region_without_the_image_is_no_answer(kept: Path) -> None:
    with pytest.raises(ValueError, match="nowhere-1"):
        container_images.hosting_image("nowhere-1", _INSTANCE)
    assert not kept.exists()
