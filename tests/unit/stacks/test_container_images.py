"""The container images, and the cache of the sagemaker package's answers."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stacks import containers

_REGION, _INSTANCE = "eu-west-1", "ml.g6.xlarge"
_REQUIREMENTS = Path(__file__).resolve().parents[2] / "container" / "requirements.txt"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of answers of this test's own, which is not there yet."""
    file = tmp_path / ".build" / "container-images.json"
    monkeypatch.setattr(containers, "CACHED_ANSWERS", file)
    return file


def test_the_second_look_up_needs_no_package(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = containers.training_image(_REGION, _INSTANCE)
    assert f".dkr.ecr.{_REGION}.amazonaws.com/huggingface-pytorch-training:" in image
    monkeypatch.setitem(sys.modules, "sagemaker.core", None)
    assert containers.training_image(_REGION, _INSTANCE) == image
    assert list(kept.parent.iterdir()) == [kept]
    with pytest.raises(ImportError):
        containers.hosting_image(_REGION, _INSTANCE)


def test_another_version_of_the_package_is_asked_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = containers.hosting_image(_REGION, _INSTANCE)
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "0.0.0")
    assert containers.hosting_image(_REGION, _INSTANCE) == image
    assert len(json.loads(kept.read_text())) == 2


def test_a_truncated_file_is_written_again(kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_text('{"cut')
    image = containers.hosting_image(_REGION, _INSTANCE)
    assert list(json.loads(kept.read_text()).values()) == [image]


def test_a_region_without_the_image_is_no_answer(kept: Path) -> None:
    with pytest.raises(ValueError, match="nowhere-1"):
        containers.hosting_image("nowhere-1", _INSTANCE)
    assert not kept.exists()


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("framework", "scope", "image"),
    [
        ("huggingface", "training", containers.training_image),
        ("vllm", "inference", containers.hosting_image),
    ],
)
def test_no_newer_image_is_known(framework: str, scope: str, image: Callable[[str, str], str]) -> None:
    """When this fails, read docs/decisions/0016."""
    package = importlib.util.find_spec("sagemaker.core")
    assert package is not None and package.origin is not None
    file = Path(package.origin).with_name("image_uri_config") / f"{framework}.json"
    versions = json.loads(file.read_text())[scope]["versions"]
    newest = max(versions, key=lambda version: tuple(int(part) for part in version.split(".")))
    assert newest in image(_REGION, _INSTANCE)


def test_the_tests_in_the_container_have_the_images_versions() -> None:
    tag = containers.training_image(_REGION, _INSTANCE).rpartition(":")[2]
    pins = dict(
        line.split("==") for line in _REQUIREMENTS.read_text().split("\n\n")[0].splitlines() if "==" in line
    )
    assert tag.startswith(f"{pins['torch']}-transformers{pins['transformers']}-gpu-py312-")
