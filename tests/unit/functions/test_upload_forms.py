"""An upload form permits one key, one size and one type."""

import base64
import io
import json
import subprocess
import zipfile
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastapi.testclient import TestClient

from begin.handler import handler as begin
from chat_api.app import app
from chat_api.services import bucket_files
from contracts import s3_keys
from read_stories.handler import handler as read_stories
from shared.aws import clients
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.stories.test_file_rules import BAD

OVERRIDE = "tales/\u202etxt.exe"


@pytest.fixture
def api(resources: DeployedResources) -> TestClient:
    """The API."""
    return TestClient(app, headers=caller_headers())


def _form(api: TestClient, name: str, size: int) -> dict[str, Any]:
    answer = api.post("/api/stories", json={"name": name, "size": size})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _send(
    form: dict[str, Any],
    content: bytes,
    file_name: str = "file",
    instead: dict[str, str | None] | None = None,
) -> httpx.Response:
    fields = {**form["fields"], **(instead or {})}
    said = {name: value for name, value in fields.items() if value is not None}
    return httpx.post(form["url"], data=said, files={"file": (file_name, content)}, trust_env=False)


@pytest.mark.parametrize("name", [name for name, _ in BAD.values()], ids=BAD.keys())
def test_there_is_no_form_for_an_invalid_name(api: TestClient, name: str) -> None:
    body = json.dumps({"name": name, "size": 3}).encode()
    for path in ("/api/stories", "/api/batches"):
        refused = api.post(path, content=body, headers={"Content-Type": "application/json"})
        assert refused.status_code == 422, refused.text
        assert refused.json()["error"]["cure"]


@pytest.mark.aws_fact
def test_the_policy_names_the_key_the_size_and_the_type(api: TestClient) -> None:
    """`starts-with` is what boto3 signs for a key that ends with ${filename}, which S3 replaces."""
    form = _form(api, "tales/The Hill.txt", 11)
    conditions = json.loads(base64.b64decode(form["fields"]["policy"]))["conditions"]
    assert {"key": "tales/The Hill.txt"} in conditions
    assert ["content-length-range", 11, 11] in conditions
    assert {"Content-Type": "application/octet-stream"} in conditions
    assert not [one for one in conditions if isinstance(one, list) and one[0] == "starts-with"]


def test_no_form_is_made_for_a_key_that_s3_would_change(resources: DeployedResources) -> None:
    with pytest.raises(ValueError, match="variable"):
        bucket_files.upload_form(resources.stories, "tales/${filename}", 11)


@pytest.mark.parametrize(
    "instead",
    [
        {"key": "other.txt"},
        {"key": "tales/${filename}"},
        {"Content-Type": "text/html"},
        {"Content-Type": None},
    ],
    ids=str,
)
def test_s3_accepts_only_what_the_form_is_for(
    api: TestClient, resources: DeployedResources, instead: dict[str, str | None]
) -> None:
    form = _form(api, "tales/a.txt", 4)
    assert _send(form, b"Once", instead=instead).status_code == 403
    for content in (b"Onc", b"Once more", b""):
        assert _send(form, content).status_code == 400
    assert "Contents" not in clients.s3().list_objects_v2(Bucket=resources.stories)
    assert _send(form, b"Once", file_name="../../x\u202e.txt").is_success
    (stored,) = clients.s3().list_objects_v2(Bucket=resources.stories)["Contents"]
    assert stored["Key"] == "tales/a.txt"


def test_a_name_of_a_mac_is_the_same_story(api: TestClient) -> None:
    assert _form(api, "U\u0308ber\\a.txt", 1)["key"] == "Über/a.txt"


def _read_by(resources: DeployedResources, run_id: str) -> list[dict[str, Any]]:
    listed = clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix=s3_keys.read_prefix(run_id))
    bodies = [
        clients.s3().get_object(Bucket=resources.artifacts, Key=entry["Key"])["Body"].read()
        for entry in listed["Contents"]
    ]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def test_files_with_such_names_in_the_bucket_are_listed_and_cost_the_run_nothing(
    resources: DeployedResources, context: LambdaContext
) -> None:
    """Whoever may write to the bucket itself can name an object as they like."""
    good = ["a.txt", "a//b.txt", "a/../c.txt", "./d.txt", " e.txt ", "${filename}", "U\u0308.txt", "/f.txt"]
    bad = [OVERRIDE, "a\nb.txt", "\u2066.txt"]
    text = ("The goose went up the hill, and looked at the town. " * 20).encode()
    for number, key in enumerate([*good, *bad]):
        clients.s3().put_object(Bucket=resources.stories, Key=key, Body=text + str(number).encode())
    run_id = "20260901-100000-aaaa"
    begun = begin({"run_id": run_id, "reason": "test", "execution_arn": "arn"}, context)
    assert begun["files"] == len(good) + len(bad)
    body = clients.s3().get_object(Bucket=resources.artifacts, Key=s3_keys.batches(run_id))["Body"].read()
    for line in body.splitlines():
        read_stories({"run_id": run_id, **json.loads(line)}, context)
    listed = clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix=s3_keys.read_prefix(run_id))[
        "Contents"
    ]
    bodies = [
        clients.s3().get_object(Bucket=resources.artifacts, Key=entry["Key"])["Body"].read()
        for entry in listed
    ]
    found = [json.loads(line) for body in bodies for line in body.splitlines()]
    assert sorted(one["source_key"] for one in found if one["kind"] == "record") == sorted(good)
    rejects = {one["source_key"]: one for one in found if one["kind"] == "reject"}
    assert set(rejects) == {
        "tales/<U+202E>txt.exe",
        "a<U+000A>b.txt",
        "<U+2066>.txt",
    }
    assert all("cannot be shown safely" in one["reason"] and one["cure"] for one in rejects.values())


def test_the_names_in_an_archive_are_shown_safely(
    resources: DeployedResources, context: LambdaContext
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(OVERRIDE, "The goose went up the hill. " * 30)
    clients.s3().put_object(Bucket=resources.stories, Key="a.zip", Body=packed.getvalue())
    run_id = "20260901-100000-aaaa"
    begin({"run_id": run_id, "reason": "test", "execution_arn": "arn"}, context)
    body = clients.s3().get_object(Bucket=resources.artifacts, Key=s3_keys.batches(run_id))["Body"].read()
    read_stories({"run_id": run_id, **json.loads(body)}, context)
    first = _read_by(resources, run_id)[0]
    assert first["entry"] == "tales/<U+202E>txt.exe"
    assert "\u202e" not in first.get("title", "")


@pytest.mark.parametrize("key", [OVERRIDE, "it's\u202ea \\ $(story) 1!.txt", "a\x1b[2J`id`.txt"])
def test_such_a_story_can_be_deleted_and_the_command_is_safe_to_show(
    api: TestClient, resources: DeployedResources, key: str
) -> None:
    clients.s3().put_object(Bucket=resources.stories, Key=key, Body=b"Once")
    answer = api.delete(f"/api/stories/{quote(key)}")
    assert answer.status_code == 200, answer.text
    message = answer.json()["message"]
    assert message.isprintable()
    command = message.partition("remove the marker: ")[2]
    # A real shell is the judge of the quoting.
    shell = subprocess.run(
        ["bash", "-c", f"aws() {{ printf '%s\\0' \"$@\"; }}; {command}"], capture_output=True, check=True
    )
    words = shell.stdout.decode().split("\0")
    assert words[words.index("--key") + 1] == key
