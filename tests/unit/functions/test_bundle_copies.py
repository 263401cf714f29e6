"""A copy in a bundle is kept if it is of the current source, whatever its size."""

import pytest

from deploy import bundle
from shared.aws import clients
from tests.unit.functions.conftest import DeployedResources

SOURCE, TARGET = "base-models/m/r/", "hosting/v1/base/"


def _copy(resources: DeployedResources) -> set[str]:
    return bundle._copy_folder(resources.artifacts, SOURCE, resources.artifacts, TARGET)


def _read(resources: DeployedResources, name: str) -> bytes:
    return clients.s3().get_object(Bucket=resources.artifacts, Key=TARGET + name)["Body"].read()


@pytest.mark.parametrize("changed", [SOURCE, TARGET], ids=["source", "copy"])
def test_a_file_of_the_same_size_and_another_content_is_copied_again(
    resources: DeployedResources, changed: str
) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        clients.s3().put_object(Bucket=resources.artifacts, Key=SOURCE + name, Body=b"right")
    assert _copy(resources) == {"a.safetensors", "b.safetensors"}
    clients.s3().put_object(Bucket=resources.artifacts, Key=f"{changed}a.safetensors", Body=b"wrong")
    _copy(resources)
    assert _read(resources, "a.safetensors") == (b"wrong" if changed == SOURCE else b"right")


def test_what_is_a_copy_already_is_not_copied_again(resources: DeployedResources) -> None:
    clients.s3().put_object(Bucket=resources.artifacts, Key=f"{SOURCE}a.safetensors", Body=b"right")
    _copy(resources)
    before = clients.s3().head_object(Bucket=resources.artifacts, Key=f"{TARGET}a.safetensors")
    clients.s3().put_object_tagging(
        Bucket=resources.artifacts,
        Key=f"{TARGET}a.safetensors",
        Tagging={"TagSet": [{"Key": "seen", "Value": "yes"}]},
    )
    _copy(resources)
    after = clients.s3().head_object(Bucket=resources.artifacts, Key=f"{TARGET}a.safetensors")
    assert after["LastModified"] == before["LastModified"]
    tags = clients.s3().get_object_tagging(Bucket=resources.artifacts, Key=f"{TARGET}a.safetensors")["TagSet"]
    assert tags, "a copy would have no tag"
